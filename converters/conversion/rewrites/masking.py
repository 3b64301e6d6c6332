"""Masks of minus infinity, or of numbers that no int8 scale holds, have a large negative number instead.

They do so before Softmax alone, where that is the same. Softmax of nothing but minus infinity is NaN in TFLite; and
onnx2tf writes Where with a constant condition as products, in which zero times infinity is NaN, too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

MASKED = -1e11
"""Its exponential is zero beside that of any score, scores below 4,000 vanish in it, and int8 can still hold it: steps
are 1e9 at most, and a layer that loses its scores by that is kept float."""


def finite(writer: Writer) -> bool:
    """Take what is below :data:`MASKED` out of a constant that is added to scores, or put in their place."""
    node = writer.node
    values = {i: v for i, n in enumerate(node.input) if (v := writer.editor.constant(n)) is not None}
    changed = {i: v for i, v in values.items() if v.dtype == np.float32 and (v < MASKED).any()}
    if not changed or not _only_softmax_reads(writer.editor.graph, node.output[0]):
        return False
    inputs = list(node.input)
    for position, value in changed.items():
        inputs[position] = writer.constant("mask", np.maximum(value, np.float32(MASKED)))
    writer(node.op_type, *inputs, to=node.output[0], **attributes(node))
    return True


def _only_softmax_reads(graph: onnx.GraphProto, name: str) -> bool:
    if any(o.name == name for o in graph.output):
        return False
    readers = [n for n in graph.node if name in n.input]
    return bool(readers) and all(
        n.op_type == "Softmax" or (_keeps_values(n) and _only_softmax_reads(graph, n.output[0])) for n in readers
    )


def _keeps_values(node: onnx.NodeProto) -> bool:
    is_cast = node.op_type == "Cast" and attributes(node)["to"] == TensorProto.FLOAT
    return is_cast or node.op_type in ("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze")


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(("Add", "Where"), (finite,))
