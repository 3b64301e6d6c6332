"""Outputs of whole numbers or truth values, such as ArgMax gives, become float32, and all have the frame first.

Single numbers become rows of one; what begins with another dimension, as a recurrent state does, gets a first one. All
behind import counts on both.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def cast_outputs(model: onnx.ModelProto) -> list[str]:
    """Append a Cast or a Reshape to every other output, in place; the outputs keep their names, which are returned.

    Args:
        model: Its outputs have their types and the shapes that they have for one frame.
    """
    graph = model.graph
    others = [o for o in graph.output if o.type.tensor_type.elem_type != TensorProto.FLOAT or _is_frameless(o)]
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    for output in others:
        inner = f"{output.name}/as_computed"
        while inner in taken:
            inner += "_"
        for node in graph.node:
            node.input[:] = [inner if n == output.name else n for n in node.input]
            node.output[:] = [inner if n == output.name else n for n in node.output]
        last = f"{inner}/float" if _is_frameless(output) else output.name
        graph.node.append(helper.make_node("Cast", [inner], [last], f"{output.name}/cast", to=TensorProto.FLOAT))
        output.type.tensor_type.elem_type = TensorProto.FLOAT
        if _is_frameless(output):
            dims = [d.dim_value for d in output.type.tensor_type.shape.dim]
            shape = f"{inner}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array([1, *dims], np.int64), shape))
            graph.node.append(helper.make_node("Reshape", [last, shape], [output.name], f"{output.name}/row"))
            del output.type.tensor_type.shape.dim[:]
            for size in (1, *dims):
                output.type.tensor_type.shape.dim.add().dim_value = size
    if others:
        del graph.value_info[:]
        model.CopyFrom(onnx.shape_inference.infer_shapes(model))
    return [o.name for o in others]


def _is_frameless(output: onnx.ValueInfoProto) -> bool:
    kind = output.type.tensor_type
    if not kind.HasField("shape"):
        return False
    dims = [d.dim_value for d in kind.shape.dim]
    return not dims or (dims[0] > 1 and all(dims))
