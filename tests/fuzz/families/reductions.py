"""Reductions, arguments of extremes, sums along an axis, and what divides by them."""

from __future__ import annotations

from typing import Any

from tests.fuzz.sketch import Sketch

_KINDS = """
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
""".split()  # noqa: SIM905


def reduce(s: Sketch) -> list[str]:
    """Over any axes, named from either end, as attribute or input; or over all, or none."""
    kind, x = s.pick(_KINDS), s.tensor()
    rank = len(s.shape(x))
    axes = [a - rank if s.yes(3) else a for a in s.some(range(rank))]
    given: dict[str, Any] = s.optional(keepdims=s.whole(0, 1))
    if kind == "ReduceLogSum":
        x = (s.add("Add", *s.add("Abs", x), s.constant(0.1)) or [""])[0]
    everything = s.yes(6)
    if s.version(kind) >= (13 if kind == "ReduceSum" else 18):
        if everything:
            return s.add(kind, x, **given, **s.optional(noop_with_empty_axes=s.whole(0, 1)))
        return s.add(kind, x, s.ints(axes), **given)
    return s.add(kind, x, **given, **({} if everything else {"axes": axes}))


def argument(s: Sketch) -> list[str]:
    """ArgMax, ArgMin and TopK, whose indices become floats mostly."""
    x = s.tensor()
    rank = len(s.shape(x))
    kind = s.pick(("ArgMax", "ArgMin", "TopK"))
    axis = s.axis(rank)
    if kind == "TopK":
        count = s.whole(1, s.shape(x)[axis])
        if s.version("TopK") < 10:
            made = s.add("TopK", x, outputs=2, axis=axis, k=count)
        else:
            given = s.optional(largest=s.whole(0, 1), sorted=1) if s.version("TopK") >= 11 else {}
            made = s.add("TopK", x, s.ints([count]), outputs=2, axis=axis, **given)
        if not made or s.yes():
            return made[:1]
        return s.add("Cast", made[1], to=1)
    given = s.optional(keepdims=s.whole(0, 1), axis=axis)
    if s.version(kind) >= 12:
        given |= s.optional(select_last_index=s.whole(0, 1))
    made = s.add(kind, x, **given)
    return made if not made or s.yes(4) else s.add("Cast", *made, to=1)


def running(s: Sketch) -> list[str]:
    """CumSum and CumProd."""
    x = s.tensor()
    given = s.optional(exclusive=s.whole(0, 1), reverse=s.whole(0, 1))
    axis = s.axis(len(s.shape(x)))
    return s.add(s.pick(("CumSum", "CumSum", "CumProd")), x, s.constant(axis, "int64"), **given)


def softmax(s: Sketch) -> list[str]:
    """Softmax and its kin, on any axis or the default one."""
    x = s.tensor()
    return s.add(s.pick(("Softmax", "LogSoftmax", "Hardmax")), x, **s.optional(axis=s.axis(len(s.shape(x)))))


def norm(s: Sketch) -> list[str]:
    """Normalisation by what the values themselves are."""
    kind = s.pick(
        [
            "LpNormalization",
            "LayerNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "BatchNormalization",
            "MeanVarianceNormalization",
            "RMSNormalization",
            "LRN",
        ]
    )
    x = s.tensor() if kind in ("LpNormalization", "LayerNormalization", "RMSNormalization") else s.tensor((3, 4, 5))
    if not x:
        return []
    shape = s.shape(x)
    rank = len(shape)
    epsilon = s.optional(epsilon=s.pick((1e-3, 1e-2, 0.5)))
    if kind == "LpNormalization":
        return s.add(kind, x, **s.optional(axis=s.axis(rank), p=s.whole(1, 2)))
    if kind in ("LayerNormalization", "RMSNormalization"):
        axis = s.axis(rank)
        scale = s.constant(s.floats(shape[axis:]))
        bias = [s.constant(s.floats(shape[axis:]))] if kind == "LayerNormalization" and s.yes() else []
        return s.add(kind, x, scale, *bias, axis=axis, **epsilon)
    channels = shape[1]
    if kind == "GroupNormalization":
        groups = s.pick([g for g in range(1, channels + 1) if channels % g == 0])
        size = channels if s.opset >= 21 else groups
        return s.add(kind, x, s.constant(s.floats([size])), s.constant(s.floats([size])), num_groups=groups, **epsilon)
    if kind == "InstanceNormalization":
        return s.add(kind, x, s.constant(s.floats([channels])), s.constant(s.floats([channels])), **epsilon)
    if kind == "BatchNormalization":
        values = [s.constant(s.floats([channels])) for _ in range(3)]
        return s.add(kind, x, *values, s.constant(s.floats([channels], 0.1, 2)), **epsilon)
    if kind == "LRN":
        return s.add(kind, x, size=s.whole(1, 5), **s.optional(alpha=s.whole(1, 9) / 10, beta=0.5, bias=1.5))
    axes = s.some(range(rank))
    return s.add(kind, x, **s.optional(axes=axes))


KINDS = {"reduce": reduce, "argument": argument, "running": running, "softmax": softmax, "norm": norm}
