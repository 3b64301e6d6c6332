"""Transposed convolutions that TFLite's operator does not compute: the whole result, and a part of that cut out.

What stays as it is: two dimensions, one group, no dilation, and padding that takes off what SAME or VALID take. Those
of three dimensions or many groups are convolutions of a tensor with zeros between its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_MOST_GROUPS = 4
"""More would be too many operators."""


def conv_transpose(writer: Writer) -> bool:
    """Take the whole result, without padding, and cut out of it what is wanted."""
    node, given, editor = writer.node, attributes(writer.node), writer.editor
    shape, result, weight = editor.shape(node.input[0]), editor.shape(node.output[0]), editor.constant(node.input[1])
    bias = editor.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if shape is None or result is None or weight is None or (bias is None and any(node.input[2:])):
        return False
    rank, group = len(shape) - 2, given.get("group", 1)
    strides, dilations = (given.get(name, [1] * rank) for name in ("strides", "dilations"))
    covered = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pads = _pads(given, shape, result, strides, covered)
    if _is_plain(given, rank, group, dilations, pads, strides, weight.shape[2:], shape[2:], result[2:]):
        return False
    dense = np.zeros((*weight.shape[:2], *covered), np.float32)
    dense[(..., *(slice(None, None, d) for d in dilations))] = weight
    whole = [(n - 1) * s + c for n, s, c in zip(shape[2:], strides, covered, strict=True)]
    x = node.input[0]
    if rank > 2 or group > _MOST_GROUPS:
        y = _by_convolution(writer, x, shape, dense, strides, group)
    elif rank == 1:
        x = writer("Reshape", x, writer.ints("image", [*shape[:2], 1, shape[2]]))
        y = _grouped(writer, x, (*shape[:2], 1, shape[2]), dense[:, :, None], [1, *strides], group)
        y = writer("Reshape", y, writer.ints("row", [*result[:2], *whole]))
    else:
        y = _grouped(writer, x, shape, dense, strides, group)
    after = [p + r - w for p, r, w in zip(pads, result[2:], whole, strict=True)]
    y = _padded(writer, y, [*result[:2], *whole], [-p for p in pads], after)
    if bias is None:
        writer("Identity", y, to=node.output[0])
    else:
        writer("Add", y, writer.constant("bias", bias.reshape(1, -1, *(1,) * rank)), to=node.output[0])
    return True


def _grouped(writer: Writer, x: str, shape: tuple[int, ...], weight: Array, strides: list[int], group: int) -> str:
    """One transposed convolution a group, side by side."""
    parts = [x]
    if group > 1:
        sizes = writer.ints("groups", [shape[1] // group] * group)
        parts = writer.several("Split", x, sizes, to=[""] * group, axis=1)
    made = [
        writer(
            "ConvTranspose", part, writer.constant("weights", w), kernel_shape=list(w.shape[2:]), strides=list(strides),
            pads=[0, 0, 0, 0],
        )
        for part, w in zip(parts, np.split(weight, group), strict=True)
    ]  # fmt: skip
    return made[0] if group == 1 else writer("Concat", *made, axis=1)


def _by_convolution(
    writer: Writer, x: str, shape: tuple[int, ...], weight: Array, strides: list[int], group: int
) -> str:
    """Zeros between the elements and all around, then a convolution with the mirrored kernel."""
    x, spread = _spread(writer, x, shape, strides)
    rank = len(strides)
    around = [k - 1 for k in weight.shape[2:]]
    mirrored = np.flip(weight, tuple(range(2, 2 + rank)))
    exchanged = np.concatenate([np.swapaxes(p, 0, 1) for p in np.split(mirrored, group)])
    x = _padded(writer, x, spread, around, around)
    return writer(
        "Conv", x, writer.constant("weights", exchanged), kernel_shape=list(weight.shape[2:]), group=group,
        strides=[1] * rank, pads=[0] * 2 * rank,
    )  # fmt: skip


def _pads(
    given: dict[str, Any], shape: tuple[int, ...], result: tuple[int, ...], strides: list[int], covered: list[int]
) -> list[int]:
    """What is taken off in front; behind, the size of the result says it."""
    rank = len(strides)
    mode = given.get("auto_pad", "NOTSET")
    named = given.get("pads")
    if mode == "NOTSET" and "output_shape" not in given and isinstance(named, list):
        return [int(p) for p in named[:rank]]
    extra = given.get("output_padding", [0] * rank)
    assert isinstance(extra, list)
    if mode == "VALID" or (mode == "NOTSET" and "output_shape" not in given):
        return [0] * rank
    totals = [
        (size - 1) * stride + more + c - wanted
        for size, stride, more, c, wanted in zip(shape[2:], strides, extra, covered, result[2:], strict=True)
    ]
    # The specification gives the odd element to the end for SAME_UPPER, and to the front otherwise.
    return [max(0, t) // 2 if mode == "SAME_UPPER" else max(0, t) - max(0, t) // 2 for t in totals]


def _is_plain(
    given: dict[str, Any],
    rank: int,
    group: int,
    dilations: list[int],
    pads: list[int],
    strides: list[int],
    kernel: tuple[int, ...],
    sizes: tuple[int, ...],
    results: tuple[int, ...],
) -> bool:
    if rank != 2 or group != 1 or set(dilations) != {1} or "output_shape" in given:
        return False
    if given.get("auto_pad", "NOTSET") != "NOTSET" or any(given.get("output_padding", ())):
        return False
    rows = list(zip(sizes, strides, kernel, pads, results, strict=True))
    is_valid = all(p == 0 and r == (n - 1) * s + k for n, s, k, p, r in rows)
    is_same = all(k >= s and r == n * s and p == (k - s) // 2 for n, s, k, p, r in rows)
    return is_valid or is_same


def _spread(writer: Writer, x: str, shape: tuple[int, ...], strides: list[int]) -> tuple[str, list[int]]:
    """``stride - 1`` zeros after every element but the last, an axis at a time."""
    current = list(shape)
    for axis, stride in enumerate(strides, 2):
        if stride == 1 or current[axis] == 1:
            continue
        outer, inner = int(np.prod(current[:axis])), int(np.prod(current[axis + 1 :]))
        size = current[axis]
        x = writer("Reshape", x, writer.ints("apart", [outer, size, 1, inner]))
        x = writer("Pad", x, writer.ints("zeros", [0, 0, 0, 0, 0, 0, stride - 1, 0]))
        x = writer("Reshape", x, writer.ints("rows", [outer, size * stride, inner]))
        begin, end, axes = (writer.ints("cut", [v]) for v in (0, (size - 1) * stride + 1, 1))
        x = writer("Slice", x, begin, end, axes)
        current[axis] = (size - 1) * stride + 1
        x = writer("Reshape", x, writer.ints("spread", current))
    return x, current


def _padded(writer: Writer, x: str, shape: list[int], before: list[int], after: list[int]) -> str:
    """Zeros where the amounts are positive; elements off where they are negative."""
    axes = range(2, len(shape))
    if any(v < 0 for v in (*before, *after)):
        starts = writer.ints("starts", [max(0, -b) for b in before])
        ends = writer.ints("ends", [shape[a] - max(0, -v) for a, v in zip(axes, after, strict=True)])
        x = writer("Slice", x, starts, ends, writer.ints("axes", axes))
    amounts = [0, 0, *(max(0, b) for b in before), 0, 0, *(max(0, a) for a in after)]
    return writer("Pad", x, writer.ints("pads", amounts)) if any(amounts) else x


RULES: dict[str, tuple[Rule, ...]] = {"ConvTranspose": (conv_transpose,)}
