"""Pads that repeat, wrap or mirror gather by constant indices, an axis at a time; negative ones cut first."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_NUMPY_MODES = {"edge": "edge", "wrap": "wrap", "reflect": "reflect"}
_MIRRORED_RANK = 4
"""Largest rank for which a mirroring pad stays as it is."""


def pad(writer: Writer) -> bool:
    """Write a Pad in a form that is right."""
    node, given = writer.node, attributes(writer.node)
    mode, shape = given.get("mode", "constant"), writer.editor.shape(node.input[0])
    amounts = writer.editor.constant(node.input[1]) if len(node.input) > 1 else None
    if shape is None or amounts is None:
        return False
    axes = [*range(len(shape))]
    if len(node.input) > 3 and node.input[3]:
        named = writer.editor.constant(node.input[3])
        if named is None:
            return False
        axes = [int(a) % len(shape) for a in named]
    ends = {axis: (int(amounts[i]), int(amounts[len(axes) + i])) for i, axis in enumerate(axes)}
    is_whole = len(node.input) < 4 or not node.input[3]
    if mode == "constant":
        return _cut(writer, shape, ends, is_whole)
    if mode == "reflect" and is_whole and len(shape) <= _MIRRORED_RANK and min(amounts) >= 0:
        return False
    x = node.input[0]
    for axis, (before, after) in ends.items():
        if before or after:
            indices = np.pad(np.arange(shape[axis]), (max(0, before), max(0, after)), mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
            indices = indices[max(0, -before) : len(indices) - max(0, -after)]
            x = writer("Gather", x, writer.ints("indices", indices), axis=axis)
    writer("Identity", x, to=node.output[0])
    return True


def _cut(writer: Writer, shape: tuple[int, ...], ends: dict[int, tuple[int, int]], is_whole: bool) -> bool:
    """What is taken away is sliced off, and the rest is padded on all axes."""
    node = writer.node
    is_negative = any(min(pair) < 0 for pair in ends.values())
    value = node.input[2] if len(node.input) > 2 else ""
    if not is_negative and is_whole:
        return False
    x = node.input[0]
    if any(shape[axis] + min(before, 0) + min(after, 0) <= 0 for axis, (before, after) in ends.items()):
        return _nothing_left(writer, value)
    if is_negative:
        cut = {a: pair for a, pair in ends.items() if min(pair) < 0}
        starts = writer.ints("starts", [max(0, -before) for before, _ in cut.values()])
        stops = writer.ints("stops", [shape[a] - max(0, -after) for a, (_, after) in cut.items()])
        x = writer("Slice", x, starts, stops, writer.ints("axes", cut))
    padded = [ends.get(axis, (0, 0)) for axis in range(len(shape))]
    amounts = [max(0, before) for before, _ in padded] + [max(0, after) for _, after in padded]
    if any(amounts):
        writer("Pad", x, writer.ints("pads", amounts), *([value] if value else []), to=node.output[0])
    else:
        writer("Identity", x, to=node.output[0])
    return True


def _nothing_left(writer: Writer, value: str) -> bool:
    """What is cut down to nothing and padded again is padding alone."""
    node = writer.node
    result = writer.editor.shape(node.output[0])
    filling = writer.editor.constant(value) if value else np.zeros((), np.float32)
    if result is None or filling is None or 0 in result:
        return False
    whole = np.full(result, filling.reshape(-1)[0], filling.dtype)
    writer("Identity", writer.editor.add_constant(f"{node.output[0]}/padding", whole), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"Pad": (pad,)}
