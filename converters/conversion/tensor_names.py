"""Gives the tensors of a converted graph the names of the ONNX tensors they equal, found by value.

Reports, ranges and lists of layers to keep in float then speak of the user's network, whatever the converter named
them.
"""

from __future__ import annotations

import numpy as np
import onnx

from multigraft.converters.conversion.boundary_tensors import TOLERANCE, FloatModel, OnnxRunner, fit, to_tflite_layout
from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.conversion.rewriting import free_name, rename
from multigraft.tflite.graph import Graph

_ROLES = {
    "CONV_2D": {1: "weights", 2: "bias"},
    "DEPTHWISE_CONV_2D": {1: "weights", 2: "bias"},
    "FULLY_CONNECTED": {1: "weights", 2: "bias"},
    "TRANSPOSE_CONV": {0: "shape", 1: "weights", 3: "bias"},
    "RESHAPE": {1: "shape"},
    "PAD": {1: "paddings"},
    "PADV2": {1: "paddings", 2: "value"},
    "TRANSPOSE": {1: "perm"},
    "MEAN": {1: "axes"},
    "SUM": {1: "axes"},
    "RESIZE_BILINEAR": {1: "size"},
    "RESIZE_NEAREST_NEIGHBOR": {1: "size"},
}


def name_as_in_onnx(converted: FloatModel, model: onnx.ModelProto, feed: Arrays) -> FloatModel:
    """``converted`` with its tensors renamed; what equals no ONNX tensor (a pad, say) keeps its name.

    Args:
        feed: Values of the ONNX inputs to compare on.
    """
    graph = converted.graph
    kept = {*graph.inputs, *graph.outputs, *converted.boundaries.values()}
    open_names = [n for op in graph.ops for n in op.outputs if n not in kept and graph.tensors[n].dtype == "float32"]
    names = _by_value(graph, model, feed, open_names, converted)
    taken = [n for n in names.values() if n in graph.tensors and n not in names]
    clashes = {n: free_name(graph, f"{n}/of_converter") for n in taken}
    graph = rename(graph, clashes | names)
    graph = rename(graph, _constant_names(graph))
    return FloatModel(graph, converted.boundaries, converted.layouts)


def _by_value(
    graph: Graph, model: onnx.ModelProto, feed: Arrays, open_names: list[str], converted: FloatModel
) -> dict[str, str]:
    if not open_names:
        return {}
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = {v.name for v in inferred.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    onnx_names = [o for n in model.graph.node for o in n.output if o in floats and o not in converted.boundaries]
    if not onnx_names:
        return {}
    references = OnnxRunner(model, onnx_names)(feed)
    values = Taps(graph, open_names)(to_tflite_layout(feed, converted.layouts))
    names: dict[str, str] = {}
    free = dict.fromkeys(onnx_names)
    for tensor in open_names:
        value = values[tensor]
        fits = [
            (match[0], name)
            for name in free
            if references[name].size == value.size and (match := fit([value], [references[name]], tensor)) is not None
        ]
        if fits and min(fits)[0] <= TOLERANCE and np.ptp(value) > 0:
            names[tensor] = min(fits)[1]
            del free[names[tensor]]
    return names


def _constant_names(graph: Graph) -> dict[str, str]:
    """Constants are named after the operator that reads them first and what they are to it."""
    names: dict[str, str] = {}
    for op in graph.ops:
        for position, name in enumerate(op.inputs):
            if name not in names and graph.constant(name) is not None:
                role = _ROLES.get(op.name, {}).get(position, f"constant{position}")
                names[name] = f"{op.outputs[0]}/{role}"
    final: dict[str, str] = {}
    used = {n for n in graph.tensors if n not in names}
    for old, wish in names.items():
        name, number = wish, 1
        while name in used:
            name, number = f"{wish}.{number}", number + 1
        used.add(name)
        final[old] = name
    return final
