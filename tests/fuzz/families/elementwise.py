"""Operators that look at one element at a time, with broadcasting both ways."""

from __future__ import annotations

import numpy as np

from tests.fuzz.sketch import Sketch

_PLAIN = """
Abs Ceil Cos Erf Exp Floor HardSwish Identity Mish Neg Reciprocal Relu Round Sigmoid Sign Sin Sinh Cosh Softplus
Softsign Tan Tanh Atan Asinh Dropout
""".split()  # noqa: SIM905
_WITHIN_ONE = ("Acos", "Asin", "Atanh")
_POSITIVE = ("Log", "Sqrt", "Acosh")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "Mod", "PRelu")
_COMPARISONS = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")


def plain(s: Sketch) -> list[str]:
    """An activation or function without parameters."""
    kind, x = s.pick(_PLAIN), s.tensor()
    if kind == "Reciprocal":
        x = (s.add("Add", *s.add("Abs", x), s.constant(0.5)) or [""])[0]
    return s.add(kind, x)


def limited(s: Sketch) -> list[str]:
    """A function that is defined on a part of the numbers only."""
    kind, x = s.pick((*_WITHIN_ONE, *_POSITIVE)), s.tensor()
    if kind in _WITHIN_ONE:
        return s.add(kind, *s.add("Mul", *s.add("Tanh", x), s.constant(0.9)))
    return s.add(kind, *s.add("Add", *s.add("Abs", x), s.constant(1.1 if kind == "Acosh" else 0.1)))


def parametric(s: Sketch) -> list[str]:
    """An activation with attributes."""
    kind = s.pick(
        ["Celu", "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Selu", "Shrink", "Swish", "ThresholdedRelu", "Clip"]
    )
    x, a, b = s.tensor(), s.whole(1, 30) / 10, s.whole(0, 20) / 10
    if kind == "Clip":
        return _clip(s, x)
    given = {
        "Celu": s.optional(alpha=a),
        "Elu": s.optional(alpha=a),
        "Gelu": s.optional(approximate=s.pick(("none", "tanh"))),
        "HardSigmoid": s.optional(alpha=a / 10, beta=b / 2),
        "LeakyRelu": s.optional(alpha=s.pick((a / 10, -a / 10, a))),
        "Selu": s.optional(alpha=a, gamma=b + 0.1),
        "Shrink": s.optional(bias=b / 4, lambd=a / 4),
        "Swish": s.optional(alpha=a),
        "ThresholdedRelu": s.optional(alpha=a / 5),
    }[kind]
    return s.add(kind, x, **given)


def _clip(s: Sketch, x: str) -> list[str]:
    low = s.pick((None, 0.0, -1.0, -0.5))
    high = s.pick((None, 6.0, 1.0, 0.7))
    if s.version("Clip") < 11:
        return s.add("Clip", x, **{k: v for k, v in (("min", low), ("max", high)) if v is not None})
    names = ["" if v is None else s.constant(v) for v in (low, high)]
    return s.add("Clip", x, *names)


def operand(s: Sketch, x: str, low: float = -1.0, high: float = 1.0) -> str:
    """A tensor or constant that broadcasts with ``x``, of more or fewer dimensions, or that has some of size 1."""
    shape = s.shape(x)
    if s.yes():
        fits = [n for n, v in s.values.items() if v.dtype.kind == "f" and _broadcasts(v.shape, shape)]
        return str(s.pick(fits))
    dims = [1 if s.yes(3) else d for d in shape]
    if s.yes(3):
        dims = dims[s.whole(0, len(dims)) :]
    elif s.yes(8) and len(dims) < 5:
        dims = [s.whole(1, 2), *dims]
    return s.constant(s.floats(dims, low, high))


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b), strict=False))


def arithmetic(s: Sketch) -> list[str]:
    """Two or more operands."""
    kind, x = s.pick(_ARITHMETIC), s.tensor()
    if kind == "Pow":
        positive = s.add("Add", *s.add("Abs", x), s.constant(0.2))
        if s.yes():
            return s.add("Pow", x, s.constant(s.pick((2.0, 3.0, 1.0, 0.0))))
        return s.add("Pow", *positive, operand(s, x, -2, 3)) if positive else []
    if kind == "Mod":
        return s.add("Mod", x, s.constant(s.floats(s.shape(x), 0.5, 2.0)), fmod=1)
    if kind == "PRelu":
        slope = s.shape(x)[1:] if len(s.shape(x)) > 1 else s.shape(x)
        dims = [1 if s.yes() else d for d in slope]
        return s.add("PRelu", x, s.constant(s.floats(dims[s.whole(0, len(dims) - 1) :])))
    if kind in ("Max", "Min", "Sum", "Mean"):
        others = [operand(s, x) for _ in range(s.whole(0, 2))]
        inputs = [x, *others]
        return s.add(kind, *(reversed(inputs) if s.yes() else inputs))
    if kind == "Div":
        other = s.constant(s.floats(s.shape(operand(s, x)), 0.3, 2.0))
        if s.yes(3):
            divisor = s.add("Add", *s.add("Abs", x), s.constant(0.5))
            return s.add("Div", other, *divisor) if divisor else []
        return s.add("Div", x, other)
    pair = [x, operand(s, x)]
    return s.add(kind, *(reversed(pair) if s.yes() else pair))


def comparison(s: Sketch) -> list[str]:
    """Truth values, and what is chosen by them or counted."""
    x = s.tensor()
    kind = s.pick(_COMPARISONS)
    other = s.constant(0.0) if s.yes(4) else operand(s, x)
    truth = s.add(kind, x, other)
    if truth and s.yes(3):
        if s.yes():
            truth = s.add("Not", *truth)
        else:
            second = s.add("Less", x, s.constant(0.1))
            truth = s.add(s.pick(("And", "Or", "Xor")), *truth, *second)
    if not truth:
        return []
    if s.yes():
        chosen = [x, operand(s, x)]
        return s.add("Where", *truth, *(reversed(chosen) if s.yes() else chosen))
    if s.yes(5):
        return truth
    return s.add("Cast", *truth, to=1)


def integers(s: Sketch) -> list[str]:
    """Whole numbers for a while, and back."""
    x = s.tensor()
    whole = s.add("Cast", *s.add("Mul", x, s.constant(s.whole(1, 9))), to=s.pick((6, 7)))
    if not whole:
        return []
    dtype = s.values[whole[0]].dtype
    kind = s.pick(("Add", "Sub", "Mul", "Mod", "Div", "Abs", "Neg", "Max", "Min", "Sign", "Equal", "Less"))
    if kind in ("Abs", "Neg", "Sign"):
        done = s.add(kind, *whole)
    else:
        done = s.add(kind, *whole, s.constant(s.whole(1, 5), dtype))
    return s.add("Cast", *done, to=1) if done else []


def not_numbers(s: Sketch) -> list[str]:
    """IsNaN and IsInf of numbers."""
    truth = s.add(s.pick(("IsNaN", "IsInf")), s.tensor())
    return s.add("Cast", *truth, to=1) if truth else []


def like(s: Sketch) -> list[str]:
    """CastLike, and a fake of a shape computed at run time."""
    x = s.tensor()
    if s.yes():
        return s.add("CastLike", x, s.constant(1.0))
    shape = s.add("Shape", x)
    if not shape:
        return []
    filled = s.add("ConstantOfShape", *shape, value=_scalar(s.whole(0, 3)))
    return s.add("Add", x, *filled) if filled else []


def _scalar(value: float) -> object:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([value], np.float32))


KINDS = {
    "plain": plain, "limited": limited, "parametric": parametric, "arithmetic": arithmetic, "comparison": comparison,
    "integers": integers, "not numbers": not_numbers, "like": like,
}  # fmt: skip
