"""Outputs of whole numbers or truth values, such as ArgMax gives, become float32, and single numbers rows of one.

All behind import counts on both.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def cast_outputs(model: onnx.ModelProto) -> list[str]:
    """Append a Cast or a Reshape to every other output, in place; the outputs keep their names, which are returned.

    Args:
        model: Its outputs have their types.
    """
    graph = model.graph
    others = [o for o in graph.output if o.type.tensor_type.elem_type != TensorProto.FLOAT or _is_single(o)]
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    for output in others:
        inner = f"{output.name}/as_computed"
        while inner in taken:
            inner += "_"
        for node in graph.node:
            node.input[:] = [inner if n == output.name else n for n in node.input]
            node.output[:] = [inner if n == output.name else n for n in node.output]
        last = f"{inner}/float" if _is_single(output) else output.name
        graph.node.append(helper.make_node("Cast", [inner], [last], f"{output.name}/cast", to=TensorProto.FLOAT))
        output.type.tensor_type.elem_type = TensorProto.FLOAT
        if _is_single(output):
            shape = f"{inner}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), shape))
            graph.node.append(helper.make_node("Reshape", [last, shape], [output.name], f"{output.name}/row"))
            output.type.tensor_type.shape.dim.add().dim_value = 1
    if others:
        del graph.value_info[:]
        model.CopyFrom(onnx.shape_inference.infer_shapes(model))
    return [o.name for o in others]


def _is_single(output: onnx.ValueInfoProto) -> bool:
    return output.type.tensor_type.HasField("shape") and not output.type.tensor_type.shape.dim
