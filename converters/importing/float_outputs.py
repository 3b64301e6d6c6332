"""Outputs of whole numbers or truth values, such as ArgMax gives, become float32: all behind import counts on that."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def cast_outputs(model: onnx.ModelProto) -> list[str]:
    """Append a Cast to every output of another type, in place; the outputs keep their names, which are returned.

    Args:
        model: Its outputs have their types.
    """
    graph = model.graph
    others = [o for o in graph.output if o.type.tensor_type.elem_type != TensorProto.FLOAT]
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    for output in others:
        inner = f"{output.name}/as_computed"
        while inner in taken:
            inner += "_"
        for node in graph.node:
            node.input[:] = [inner if n == output.name else n for n in node.input]
            node.output[:] = [inner if n == output.name else n for n in node.output]
        graph.node.append(helper.make_node("Cast", [inner], [output.name], f"{output.name}/cast", to=TensorProto.FLOAT))
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    if others:
        del graph.value_info[:]
        model.CopyFrom(onnx.shape_inference.infer_shapes(model))
    return [o.name for o in others]
