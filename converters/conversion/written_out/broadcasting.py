"""Operands of lower rank get it written out: onnx2tf moves channels to the end, and an operand of lower rank not.

An Expand repeats; a PRelu whose slope is not one number a channel is two rectifiers.
"""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_OPERATORS = (
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod", "Where", "Equal", "Greater", "Less",
    "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor",
)  # fmt: skip
_EXPANDED_RANK = 4
"""Largest rank for which an Expand stays as it is."""


def same_rank(writer: Writer) -> bool:
    """Reshape operands of lower rank, but for constants of one element."""
    node, editor = writer.node, writer.editor
    shapes = [editor.shape(n) for n in node.input]
    known = [s for s in shapes if s is not None]
    rank = max(map(len, known), default=0)
    low = [
        len(s) < rank and not (np.prod(s, dtype=int) == 1 and editor.constant(n) is not None)
        for n, s in zip(node.input, known, strict=False)
    ]
    if len(known) < len(shapes) or not any(low):
        return False
    inputs = list(node.input)
    for i, (name, shape) in enumerate(zip(node.input, known, strict=True)):
        if low[i]:
            wanted = (1,) * (rank - len(shape)) + shape
            value = editor.constant(name)
            if value is not None:
                inputs[i] = writer.constant("operand", value.reshape(wanted), value.dtype)
            else:
                inputs[i] = writer("Reshape", name, writer.ints("rank", wanted))
    writer(node.op_type, *inputs, to=node.output[0], **attributes(node))
    return True


def expand(writer: Writer) -> bool:
    """An Expand of high rank, or to a higher one, is a Reshape and a Tile."""
    node = writer.node
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    if shape is None or result is None or (len(result) <= _EXPANDED_RANK and len(result) == len(shape)):
        return False
    x = node.input[0]
    full = (1,) * (len(result) - len(shape)) + shape
    if full != shape:
        x = writer("Reshape", x, writer.ints("rank", full))
    counts = [r // f for r, f in zip(result, full, strict=True)]
    writer("Tile", x, writer.ints("counts", counts), to=node.output[0])
    return True


def prelu(writer: Writer) -> bool:
    """PRelu is ``relu(x) + slope * min(x, 0)``; one slope a channel of an image stays."""
    node = writer.node
    shape, slope = writer.editor.shape(node.input[0]), writer.editor.constant(node.input[1])
    if shape is None:
        return False
    if slope is not None and (
        slope.size == 1 or (len(shape) == 4 and slope.shape[-3:] == (shape[1], 1, 1) and slope.size == shape[1])
    ):
        return False
    below = writer("Min", node.input[0], writer.constant("zero", 0.0))
    writer("Add", writer("Relu", node.input[0]), writer("Mul", below, node.input[1]), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(_OPERATORS, (same_rank,)),
    "Expand": (expand,),
    "PRelu": (prelu,),
}
