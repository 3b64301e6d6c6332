"""LpPool as powers around an average, and dilated pooling as the maximum or mean of strided slices."""

from __future__ import annotations

import itertools
import math

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_LOWEST = float(np.finfo(np.float32).min)


def lp_pool(writer: Writer) -> bool:
    """LpPool is the p-th root of the sum of the p-th powers of magnitudes."""
    (x,), given = writer.node.input, attributes(writer.node)
    p, kernel = given.pop("p", 2), given["kernel_shape"]
    if given.get("ceil_mode") or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    if "dilations" in given and writer.editor.opset < 19:
        return False
    size = writer("Abs", x)
    power = {1: size, 2: writer("Mul", x, x)}.get(p) or writer("Pow", size, writer.constant("power", float(p)))
    mean = writer("AveragePool", power, count_include_pad=1, **given)
    total = writer("Mul", mean, writer.constant("elements", float(math.prod(kernel))))
    if p == 1:
        writer("Identity", total, to=writer.node.output[0])
    elif p == 2:
        writer("Sqrt", total, to=writer.node.output[0])
    else:
        writer("Pow", total, writer.constant("root", 1 / p), to=writer.node.output[0])
    return True


def dilated(writer: Writer) -> bool:
    """Dilated pooling takes one strided slice of the padded input for every element of the window."""
    node, given = writer.node, attributes(writer.node)
    kernel = given["kernel_shape"]
    rank = len(kernel)
    dilations, strides = given.get("dilations", [1] * rank), given.get("strides", [1] * rank)
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    is_automatic = given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if set(dilations) == {1} or shape is None or result is None or len(node.output) > 1 or is_automatic:
        return False
    pads = given.get("pads", [0] * 2 * rank)
    before, sizes = pads[:rank], shape[2:]
    needed = [
        (out - 1) * s + (k - 1) * d + 1 for out, s, k, d in zip(result[2:], strides, kernel, dilations, strict=True)
    ]
    after = [max(0, n - size - b) for n, size, b in zip(needed, sizes, before, strict=True)]
    is_maximum = node.op_type == "MaxPool"
    x = node.input[0]
    if any([*before, *after]):
        amounts = writer.ints("pads", [0, 0, *before, 0, 0, *after])
        x = writer("Pad", x, amounts, writer.constant("value", _LOWEST if is_maximum else 0.0))
    axes = writer.ints("axes", range(2, rank + 2))
    steps = writer.ints("steps", strides)
    taken = []
    for offset in itertools.product(*map(range, kernel)):
        start = [o * d for o, d in zip(offset, dilations, strict=True)]
        end = [a + (out - 1) * s + 1 for a, out, s in zip(start, result[2:], strides, strict=True)]
        taken.append(writer("Slice", x, writer.ints("start", start), writer.ints("end", end), axes, steps))
    total = taken[0]
    for other in taken[1:]:
        total = writer("Max" if is_maximum else "Add", total, other)
    if is_maximum:
        writer("Identity", total, to=node.output[0])
    else:
        counted = [0] * 2 * rank if not given.get("count_include_pad") else pads
        counts = _counts(sizes, kernel, strides, dilations, before, counted, result[2:])
        writer("Mul", total, writer.constant("shares", 1 / counts[None, None]), to=node.output[0])
    return True


def _counts(
    sizes: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    before: list[int],
    counted: list[int],
    result: tuple[int, ...],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How many elements of each window count: those inside the input and, of the padding, what ``counted`` says."""
    rank = len(sizes)
    counts = np.ones(result)
    for axis in range(rank):
        positions = np.arange(result[axis])[:, None] * strides[axis] + np.arange(kernel[axis]) * dilations[axis]
        positions = positions - before[axis]
        is_inside = (positions >= -counted[axis]) & (positions < sizes[axis] + counted[rank + axis])
        along = is_inside.sum(axis=1).reshape(-1, *(1,) * (rank - 1 - axis))
        counts = counts * along
    return counts


RULES: dict[str, tuple[Rule, ...]] = {"LpPool": (lp_pool,), "MaxPool": (dilated,), "AveragePool": (dilated,)}
