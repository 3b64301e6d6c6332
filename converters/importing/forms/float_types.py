"""Networks in float16, bfloat16 or float64 are cast to float32, the type in which everything here computes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from multigraft.converters.importing.forms.external_data import stored_tensors

FLOATS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type", "softmax_precision")


def cast_to_float32(model: onnx.ModelProto) -> str:
    """Make every tensor of another float type float32, in place: weights, inputs, outputs and casts.

    Returns:
        What it was, such as ``float16``; empty if it was float32 already.
    """
    kinds: set[int] = set()
    for tensor in stored_tensors(model):
        if tensor.data_type in FLOATS:
            kinds.add(tensor.data_type)
            value = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    _cast_graph(model.graph, kinds)
    return " and ".join(sorted(FLOATS[kind] for kind in kinds))


def _cast_graph(graph: onnx.GraphProto, kinds: set[int]) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        kind = value.type.tensor_type
        if kind.elem_type in FLOATS:
            kinds.add(kind.elem_type)
            kind.elem_type = TensorProto.FLOAT
    _cast_nodes(graph.node, kinds)


def _cast_nodes(nodes: Iterable[onnx.NodeProto], kinds: set[int]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in FLOATS:
                kinds.add(attribute.i)
                attribute.i = TensorProto.FLOAT
            for graph in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
                _cast_graph(graph, kinds)
