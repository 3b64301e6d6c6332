"""The batch dimension of a network: symbolic, so that frames run in minibatches."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

BATCH = "N"


def batched(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose batch dimension is symbolic, with constant reshapes that follow it; one frame where it cannot be."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del fixed.graph.value_info[:]
    copy = onnx.ModelProto()
    copy.CopyFrom(fixed)
    graph = copy.graph
    constants = {i.name: i for i in graph.initializer}
    for value in [*graph.input, *graph.output]:
        if value.name not in constants and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    shapes = _inferred_shapes(fixed)
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants and node.input[0] not in constants:
            # A first dimension of the batch, or of the batch times positions: what is left when the others are known.
            shape = shapes.get(node.output[0]) or ()
            if shape and all(shape):
                node.input[1] = f"{node.output[0]}/shape"
                graph.initializer.append(numpy_helper.from_array(np.array([-1, *shape[1:]], np.int64), node.input[1]))
    try:
        onnx.shape_inference.infer_shapes(copy, strict_mode=True)
    except Exception:
        return fixed
    return copy


def _inferred_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of nodes; 0 stands for what is not known."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        return {}
    values = [*inferred.value_info, *inferred.output]
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
