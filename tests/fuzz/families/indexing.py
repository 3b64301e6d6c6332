"""Gathers, scatters, one-hot, sequences that run backwards, and resampling of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.sketch import Sketch


def _indices(s: Sketch, shape: tuple[int, ...] | list[int], size: int, both_ends: bool = True) -> str:
    low = -size if both_ends and s.yes(3) else 0
    values = np.array([s.whole(low, size - 1) for _ in range(int(np.prod(shape)))], np.int64)
    return s.constant(values.reshape(shape), s.pick((np.int64, np.int64, np.int32)))


def gather(s: Sketch) -> list[str]:
    """Gather by a scalar, a vector or a matrix, GatherElements, GatherND."""
    x = s.tensor()
    shape = s.shape(x)
    axis = s.axis(len(shape))
    kind = s.pick(("Gather", "Gather", "GatherElements", "GatherND"))
    modern = s.opset >= 11
    if kind == "Gather":
        wanted = s.pick(([], [1], [s.whole(1, 4)], [2, s.whole(1, 3)]))
        return s.add(kind, x, _indices(s, wanted, shape[axis], modern), **({"axis": axis} if axis or s.yes() else {}))
    if kind == "GatherElements":
        dims = [s.whole(1, d) for d in shape]
        dims[axis] = s.whole(1, 4)
        return s.add(kind, x, _indices(s, dims, shape[axis]), axis=axis)
    depth = s.whole(1, len(shape))
    rows = [[s.whole(0, shape[i] - 1) for i in range(depth)] for _ in range(s.whole(1, 3))]
    return s.add(kind, x, s.constant(rows, np.int64))


def scatter(s: Sketch) -> list[str]:
    """ScatterElements or ScatterND of constants, with and without reduction."""
    x = s.tensor()
    shape = s.shape(x)
    axis = s.axis(len(shape))
    reduction = s.pick(("none", "none", "add", "mul", "max", "min")) if s.opset >= 18 else "none"
    given = {"reduction": reduction} if s.opset >= 18 and s.yes() else {}
    if s.yes():
        kind = "ScatterElements" if s.opset >= 11 else "Scatter"
        dims = [s.whole(1, d) for d in shape]
        rows = np.stack([s._numbers.permutation(shape[axis])[: dims[axis]] for _ in range(int(np.prod(dims)))])
        moved = [d for i, d in enumerate(dims) if i != axis % len(dims)]
        picked = rows[: int(np.prod(moved, dtype=int))].reshape(*moved, dims[axis])
        indices = np.moveaxis(picked, -1, axis)
        return s.add(kind, x, s.constant(indices, np.int64), s.constant(s.floats(dims)), axis=axis, **given)
    depth = s.whole(1, len(shape))
    all_rows = list(np.ndindex(*shape[:depth]))
    rows = [all_rows[i] for i in sorted({s.whole(0, len(all_rows) - 1) for _ in range(s.whole(1, 3))})]
    updates = s.floats((len(rows), *shape[depth:]))
    return s.add("ScatterND", x, s.constant(rows, np.int64), s.constant(updates), **given)


def one_hot(s: Sketch) -> list[str]:
    """OneHot of an ArgMax."""
    x = s.tensor()
    found = s.add("ArgMax", x, axis=s.axis(len(s.shape(x))), keepdims=0)
    if not found:
        return []
    given = s.optional(axis=s.axis(len(s.shape(found[0])) + 1))
    return s.add("OneHot", *found, s.constant(s.whole(2, 9), np.int64), s.constant([0.0, 1.5]), **given)


def reverse(s: Sketch) -> list[str]:
    """ReverseSequence with both orders of batch and time."""
    x = s.tensor((2, 3, 4))
    if not x:
        return []
    shape = s.shape(x)
    batch, time = s.pick(((0, 1), (1, 0)))
    lengths = s.ints([s.whole(1, shape[time]) for _ in range(shape[batch])])
    return s.add("ReverseSequence", x, lengths, batch_axis=batch, time_axis=time)


def resize(s: Sketch) -> list[str]:
    """Resize in every mode of every operator set, and Upsample."""
    x = s.tensor((4,)) or s.tensor((3, 5))
    if not x:
        return []
    shape = s.shape(x)
    scales = [1.0, 1.0, *(s.pick((1.0, 2.0, 0.5, 1.5, 3.0, 0.7)) for _ in shape[2:])]
    if s.opset < 10:
        inputs = [s.constant(scales)] if s.opset == 9 else []
        given: dict[str, Any] = {} if inputs else {"scales": scales}
        return s.add("Upsample", x, *inputs, mode=s.pick(("nearest", "linear")), **given)
    if s.opset == 10:
        return s.add("Resize", x, s.constant(scales), mode=s.pick(("nearest", "linear")))
    modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    given = s.optional(mode=s.pick(("nearest", "linear", "linear", "cubic"))) | s.optional(
        coordinate_transformation_mode=s.pick(modes)
    )
    if given.get("mode", "nearest") == "nearest":
        given |= s.optional(nearest_mode=s.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if given.get("mode") == "cubic":
        given |= s.optional(cubic_coeff_a=-0.5, exclude_outside=s.whole(0, 1))
    if s.opset >= 18 and given.get("mode", "nearest") != "nearest":
        given |= s.optional(antialias=s.whole(0, 1))
    roi = s.constant(np.zeros(0, np.float32)) if s.opset < 13 or s.yes() else ""
    if s.yes():
        sizes = [*shape[:2], *(s.whole(1, 2 * d + 1) for d in shape[2:])]
        none = s.constant(np.zeros(0, np.float32)) if s.opset < 13 else ""
        return s.add("Resize", x, roi, none, s.ints(sizes), **given)
    return s.add("Resize", x, roi, s.constant(scales), **given)


def sample(s: Sketch) -> list[str]:
    """GridSample, AffineGrid and RoiAlign with constant places."""
    x = s.tensor((4,))
    if not x:
        return []
    n, c, h, w = s.shape(x)
    kind = s.pick(("GridSample", "AffineGrid", "RoiAlign"))
    if kind == "RoiAlign":
        boxes = np.array([[0, 0, w / 2, h / 2], [0.3, 0.2, w, h]], np.float32)
        given = s.optional(mode=s.pick(("avg", "max")), sampling_ratio=s.whole(1, 2), spatial_scale=0.5)
        if s.opset >= 16:
            given |= s.optional(coordinate_transformation_mode=s.pick(("half_pixel", "output_half_pixel")))
        return s.add(
            kind, x, s.constant(boxes), s.constant([0, 0], np.int64), output_height=s.whole(1, 3),
            output_width=s.whole(1, 3), **given,
        )  # fmt: skip
    grid = s.constant(s.floats((n, s.whole(1, 4), s.whole(1, 4), 2), -1.2, 1.2))
    if kind == "AffineGrid":
        theta = s.add("Reshape", *s.add("ReduceMean", x, keepdims=1), s.ints([1, 1]))
        theta = s.add("Add", *theta, s.constant(s.floats((1, 6)))) if theta else []
        theta = s.add("Reshape", *theta, s.ints([1, 2, 3])) if theta else []
        size = s.ints([1, c, s.whole(1, 4), s.whole(1, 4)])
        made = s.add(kind, *theta, size, **s.optional(align_corners=s.whole(0, 1))) if theta else []
        if not made or s.yes():
            return made
        grid = made[0]
    linear, cubic = ("linear", "cubic") if s.opset >= 20 else ("bilinear", "bicubic")
    given = s.optional(
        mode=s.pick((linear, "nearest", cubic)),
        padding_mode=s.pick(("zeros", "border", "reflection")),
        align_corners=s.whole(0, 1),
    )
    return s.add("GridSample", x, grid, **given)


KINDS = {
    "gather": gather, "scatter": scatter, "one hot": one_hot, "reverse": reverse, "resize": resize, "sample": sample
}  # fmt: skip
