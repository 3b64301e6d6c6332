"""Networks exported for several frames at once: their batch stands in shapes that they compute with, too."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

_SHAPES = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Operator to the input that says what shape it makes."""


def to_one_frame(graph: onnx.GraphProto, batch: int) -> None:
    """Let shapes that begin with ``batch`` begin with 1, in place; whether that is right shows when it is compared."""
    if batch == 1:
        return
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                constants[node.output[0]] = numpy_helper.to_array(attribute.t)
            elif node.op_type == "Constant" and attribute.name == "value_ints":
                constants[node.output[0]] = np.array(attribute.ints, np.int64)
    for number, node in enumerate(graph.node):
        place = _SHAPES.get(node.op_type)
        shape = constants.get(node.input[place]) if place is not None and place < len(node.input) else None
        if place is None or shape is None or shape.ndim != 1 or not shape.size or shape[0] != batch:
            continue
        name = f"{node.input[place]}/one_frame{number}"
        graph.initializer.append(numpy_helper.from_array(np.concatenate([[1], shape[1:]]).astype(np.int64), name))
        node.input[place] = name
