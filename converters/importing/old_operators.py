"""Operators of old operator sets whose meaning ONNX's version converter does not carry over.

Softmax, LogSoftmax and Hardmax looked at a matrix before version 13: all dimensions from ``axis`` on were one.
Upsample, and Resize of version 10, have one coordinate transformation, and round up where they make smaller and down
where they make larger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from multigraft.converters.importing.forms.ordering import set_nodes

_FLATTENED = ("Softmax", "LogSoftmax", "Hardmax")
_ONE_TRANSFORMATION = 10
"""Version up to which there is one way from places in the result to places in the input."""

_EACH_AXIS = 13
"""Version from which these look at one axis."""


def flatten_softmax(model: onnx.ModelProto, version: int) -> None:
    """Say what these did before version 13 by Flatten and Reshape, in place."""
    if version >= _EACH_AXIS:
        return
    nodes = []
    for node in model.graph.node:
        if node.op_type not in _FLATTENED:
            nodes.append(node)
            continue
        stem = f"{node.output[0]}/flattened"
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        nodes += [
            helper.make_node("Shape", [node.input[0]], [f"{stem}/shape"]),
            helper.make_node("Flatten", [node.input[0]], [f"{stem}/rows"], axis=axis),
            helper.make_node(node.op_type, [f"{stem}/rows"], [f"{stem}/done"], node.name, axis=1),
            helper.make_node("Reshape", [f"{stem}/done", f"{stem}/shape"], [node.output[0]]),
        ]
    set_nodes(model.graph, nodes)


def mend_resize(model: onnx.ModelProto, version: int) -> None:
    """Give what was Upsample, or Resize of version 10, before conversion its coordinates and rounding, in place.

    The converter renames what it replaces, so names tell nothing; nothing else becomes a Resize.
    """
    if version > _ONE_TRANSFORMATION:
        return
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in model.graph.node:
        constants.update((node.output[0], numpy_helper.to_array(a.t)) for a in node.attribute if a.name == "value")
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        scales = constants.get(node.input[2]) if node.op_type == "Resize" and len(node.input) > 2 else None
        if node.op_type != "Resize" or scales is None:
            nodes.append(node)
            continue
        mode = next((helper.get_attribute_value(a).decode() for a in node.attribute if a.name == "mode"), "nearest")
        nodes += _resizes(model, node, mode, scales)
    set_nodes(model.graph, nodes)


def _resizes(model: onnx.ModelProto, node: onnx.NodeProto, mode: str, scales: Any) -> list[onnx.NodeProto]:
    larger, smaller = np.maximum(scales, 1).astype(np.float32), np.minimum(scales, 1).astype(np.float32)
    steps = [("floor", scales)]
    if mode == "nearest" and (smaller != 1).any():
        steps = [("floor", larger), ("ceil", smaller)] if (larger != 1).any() else [("ceil", smaller)]
    made, source = [], node.input[0]
    for number, (rounding, factors) in enumerate(steps):
        result = node.output[0] if number == len(steps) - 1 else f"{node.output[0]}/larger"
        name = f"{node.output[0]}/scales.{number}"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(factors, np.float32), name))
        given = {"nearest_mode": rounding} if mode == "nearest" else {}
        made.append(
            helper.make_node(
                "Resize",
                [source, "", name],
                [result],
                node.name if number == 0 else f"{node.name}/smaller",
                mode=mode,
                coordinate_transformation_mode="asymmetric",
                **given,
            )
        )
        source = result
    return made
