"""What moves values about: shapes, axes, parts, copies and pads."""

from __future__ import annotations

import math

import numpy as np

from tests.fuzz.sketch import Sketch


def factors(s: Sketch, size: int, rank: int) -> list[int]:
    """A shape of that size."""
    shape = []
    for _ in range(rank - 1):
        factor = s.pick([f for f in range(1, size + 1) if size % f == 0])
        shape.append(factor)
        size //= factor
    return [*shape, size]


def reshape(s: Sketch) -> list[str]:
    """To another rank, with 0 for what stays and -1 for the rest; or Flatten."""
    x = s.tensor()
    shape = s.shape(x)
    if s.yes(4):
        return s.add("Flatten", x, **s.optional(axis=s.whole(0, len(shape))))
    target = factors(s, math.prod(shape), s.whole(1, 5))
    if s.yes():
        target = [1, *factors(s, math.prod(shape), s.whole(1, 3))]
    wanted = list(target)
    if s.yes(3):
        wanted = [0 if i < len(shape) and shape[i] == t and s.yes() else t for i, t in enumerate(target)]
    if s.yes():
        wanted[s.whole(0, len(wanted) - 1)] = -1
    return s.add("Reshape", x, s.ints(wanted))


def dynamic_reshape(s: Sketch) -> list[str]:
    """The flatten that PyTorch writes: Shape, Gather, Unsqueeze, Concat, Reshape."""
    x = s.tensor()
    shape = s.add("Shape", x)
    first = s.add("Gather", *shape, s.constant(0, np.int64)) if shape else []
    if not first:
        return []
    one = s.add("Unsqueeze", *first, s.ints([0])) if s.opset >= 13 else s.add("Unsqueeze", *first, axes=[0])
    target = s.add("Concat", *one, s.ints([-1]), axis=0) if one else []
    return s.add("Reshape", x, *target) if target else []


def transpose(s: Sketch) -> list[str]:
    """Any permutation, or the default one."""
    x = s.tensor()
    order = list(range(len(s.shape(x))))
    for i in range(len(order) - 1):
        j = s.whole(i, len(order) - 1)
        order[i], order[j] = order[j], order[i]
    return s.add("Transpose", x, **({} if s.yes(6) else {"perm": order}))


def squeeze(s: Sketch) -> list[str]:
    """Squeeze of some or all dimensions of size 1, or Unsqueeze."""
    x = s.tensor()
    shape = s.shape(x)
    ones = [i for i, d in enumerate(shape) if d == 1]
    if s.yes() and ones:
        if s.yes(5) and len(ones) < len(shape):
            return s.add("Squeeze", x)
        axes, kind = s.some(ones), "Squeeze"
        rank = len(shape)
    else:
        rank, kind = len(shape) + s.whole(1, 2), "Unsqueeze"
        axes = s.some(range(rank), rank - len(shape))[: rank - len(shape)]
        if rank > 6:
            return []
    if s.version(kind) >= 11:
        axes = [a - rank if s.yes(3) else a for a in axes]
    return s.add(kind, x, s.ints(axes)) if s.version(kind) >= 13 else s.add(kind, x, axes=axes)


def concat(s: Sketch) -> list[str]:
    """Tensors and constants that agree but for one axis."""
    x = s.tensor()
    shape = s.shape(x)
    axis = s.axis(len(shape))
    others = [
        n for n, v in s.values.items()
        if v.dtype.kind == "f" and v.ndim == len(shape)
        and all(a == b for i, (a, b) in enumerate(zip(v.shape, shape, strict=True)) if i != axis % len(shape))
    ]  # fmt: skip
    chosen = [x, *(s.pick(others) for _ in range(s.whole(0, 2)))]
    if s.yes(3):
        dims = list(shape)
        dims[axis] = s.whole(1, 3)
        chosen.insert(s.whole(0, 1), s.constant(s.floats(dims)))
    return s.add("Concat", *chosen, axis=axis)


def split(s: Sketch) -> list[str]:
    """Into equal parts, parts of named sizes, or a number of parts."""
    x = s.tensor()
    shape = s.shape(x)
    axis = s.axis(len(shape))
    parts = s.whole(1, min(3, shape[axis]))
    cuts = sorted(s.some(range(1, shape[axis]), parts - 1)[: parts - 1])
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, shape[axis]], strict=True)]
    given = {"axis": axis} if axis or s.yes() else {}
    if s.version("Split") >= 18 and s.yes():
        return s.add("Split", x, outputs=parts, num_outputs=parts, **given)
    if shape[axis] % parts == 0 and s.yes() and s.version("Split") < 18:
        return s.add("Split", x, outputs=parts, **given)
    if s.version("Split") >= 13:
        return s.add("Split", x, s.ints(sizes), outputs=parts, **given)
    return s.add("Split", x, outputs=parts, split=sizes, **given)


def slice_(s: Sketch) -> list[str]:
    """Any axes, ends beyond the tensor, steps both ways."""
    x = s.tensor()
    shape = s.shape(x)
    axes = s.some(range(len(shape)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        step = s.pick((1, 1, 2, 3, -1, -2)) if s.version("Slice") >= 10 else 1
        a, b = sorted((s.whole(0, size - 1), s.whole(1, size)))
        b = max(b, a + 1)
        if step > 0:
            start, end = s.pick((a, a - size)), s.pick((b, b - size if b < size else 1 << 40))
        else:
            start, end = s.pick((b - 1, b - 1 - size)), s.pick((a - 1 if a else -size - 1, -size - 1, -(1 << 40)))
        starts.append(start)
        ends.append(end)
        steps.append(step)
    named = [a - len(shape) if s.yes(3) and s.version("Slice") >= 10 else a for a in axes]
    if s.version("Slice") < 10:
        return s.add("Slice", x, starts=starts, ends=ends, axes=named)
    inputs = [s.ints(starts), s.ints(ends), s.ints(named)]
    if set(steps) != {1} or s.yes():
        inputs.append(s.ints(steps))
    return s.add("Slice", x, *inputs)


def pad(s: Sketch) -> list[str]:
    """Every mode, on any axis, also taking away."""
    x = s.tensor()
    shape = s.shape(x)
    modes = ["constant", "constant", "reflect", "edge", *(["wrap"] if s.opset >= 19 else [])]
    mode = s.pick(modes)
    lowest = -1 if mode == "constant" and s.yes(5) else 0
    ends = [s.whole(lowest, min(2, d - 1) if mode != "constant" else 2) if s.yes() else 0 for d in (*shape, *shape)]
    given = {} if mode == "constant" and s.yes() else {"mode": mode}
    value = s.pick((0.0, 0.5, -3.0))
    if s.version("Pad") < 11:
        return s.add("Pad", x, pads=ends, **given, **({"value": value} if mode == "constant" else {}))
    inputs = [s.constant(value)] if mode == "constant" and s.yes() else []
    if s.version("Pad") >= 18 and s.yes(3):
        axes = s.some(range(len(shape)))
        chosen = [*(ends[a] for a in axes), *(ends[len(shape) + a] for a in axes)]
        return s.add("Pad", x, s.ints(chosen), *(inputs or [""]), s.ints(axes), **given)
    return s.add("Pad", x, s.ints(ends), *inputs, **given)


def copies(s: Sketch) -> list[str]:
    """Tile and Expand, which broadcasts both ways."""
    x = s.tensor()
    shape = s.shape(x)
    if s.yes():
        return s.add("Tile", x, s.ints([s.whole(1, 3) if s.yes() else 1 for _ in shape]))
    target = [s.whole(1, 3) if d == 1 else s.pick((1, d)) for d in shape]
    if s.yes(4):
        target = [s.whole(1, 2), *target]
    elif s.yes(4):
        target = target[s.whole(0, len(target) - 1) :]
    return s.add("Expand", x, s.ints(target))


def depth(s: Sketch) -> list[str]:
    """Channels to positions and back; a tensor of fitting shape is made first."""
    x = s.tensor((4,))
    if not x:
        return []
    _n, c, h, w = s.shape(x)
    block = s.whole(1, 3)
    if s.yes():
        wide = s.add("Conv", x, s.constant(s.floats((block * block * s.whole(1, 2), c, 1, 1))), kernel_shape=[1, 1])
        given = s.optional(mode=s.pick(("DCR", "CRD"))) if s.opset >= 11 else {}
        return s.add("DepthToSpace", *wide, blocksize=block, **given) if wide else []
    tall = s.add("Tile", x, s.ints([1, 1, block, block])) if h % block or w % block else [x]
    return s.add("SpaceToDepth", *tall, blocksize=block) if tall else []


def crop(s: Sketch) -> list[str]:
    """CenterCropPad to other sizes, and Trilu."""
    x = s.tensor()
    shape = s.shape(x)
    if s.yes() and len(shape) >= 2:
        inputs = [s.constant(s.whole(-2, 2), np.int64)] if s.yes() else []
        return s.add("Trilu", x, *inputs, **s.optional(upper=s.whole(0, 1)))
    axes = s.some(range(len(shape)))
    return s.add("CenterCropPad", x, s.ints([s.whole(1, shape[a] + 2) for a in axes]), axes=axes)


KINDS = {
    "reshape": reshape, "dynamic reshape": dynamic_reshape, "transpose": transpose, "squeeze": squeeze,
    "concat": concat, "split": split, "slice": slice_, "pad": pad, "copies": copies, "depth": depth, "crop": crop,
}  # fmt: skip
