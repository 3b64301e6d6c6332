"""Activations with parameters that TFLite lacks: Elu and Swish with alpha, Gelu by tanh; fmod; and tiny bounds."""

from __future__ import annotations

import math

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.converters.conversion.rewrites.variadic import NEVER

_TAKEN_FOR_ZERO = 1e-6
"""By onnx2tf, as the bound of a Clip or Max."""


def elu(writer: Writer) -> bool:
    """Elu with an alpha other than 1 is ``relu(x) + alpha * elu(min(x, 0))``."""
    (x,), alpha = writer.node.input, attributes(writer.node).get("alpha", 1.0)
    if alpha == 1.0:
        return False
    below = writer("Elu", writer("Min", x, writer.constant("zero", 0.0)))
    scaled = writer("Mul", below, writer.constant("alpha", alpha))
    writer("Add", writer("Relu", x), scaled, to=writer.node.output[0])
    return True


def gelu(writer: Writer) -> bool:
    """Gelu approximated by tanh is ``x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x ** 3))``."""
    (x,) = writer.node.input
    if attributes(writer.node).get("approximate", "none") != "tanh":
        return False
    factor = 2 * math.sqrt(2 / math.pi)
    square = writer("Mul", writer("Mul", x, x), writer.constant("cubic", factor * 0.044715))
    inner = writer("Mul", x, writer("Add", square, writer.constant("linear", factor)))
    writer("Mul", x, writer("Sigmoid", inner), to=writer.node.output[0])
    return True


def swish(writer: Writer) -> bool:
    """Swish is ``x * sigmoid(alpha * x)``."""
    (x,), alpha = writer.node.input, attributes(writer.node).get("alpha", 1.0)
    inner = x if alpha == 1.0 else writer("Mul", x, writer.constant("alpha", alpha))
    writer("Mul", x, writer("Sigmoid", inner), to=writer.node.output[0])
    return True


def least(writer: Writer) -> bool:
    """The larger of a value and a tiny number is ``relu(x) + tiny``: onnx2tf takes the number for zero.

    It stands before divisions, so that zero is not one of them.
    """
    node, tiny = writer.node, writer.editor.constant(writer.node.input[1]) if len(writer.node.input) == 2 else None
    if tiny is None or tiny.size != 1 or tiny.dtype != np.float32 or not 0 < tiny.reshape(-1)[0] <= _TAKEN_FOR_ZERO:
        return False
    floor = writer.constant("least", float(tiny.reshape(-1)[0]))
    writer("Add", writer("Relu", node.input[0]), floor, to=node.output[0])
    return True


def open_bounds(writer: Writer) -> bool:
    """A bound of Clip that nothing reaches is none: int8 has no steps that go so far."""
    node = writer.node
    low, high = [*node.input[1:], "", ""][:2]
    bounds = [writer.editor.constant(n) if n else None for n in (low, high)]
    if any(b is not None and b.dtype != np.float32 for b in bounds):
        return False
    is_low = bounds[0] is not None and bool(bounds[0] <= -NEVER)
    is_high = bounds[1] is not None and bool(bounds[1] >= NEVER)
    if not is_low and not is_high:
        return False
    low, high, x = "" if is_low else low, "" if is_high else high, node.input[0]
    if low and high:
        return False
    if low and bounds[0] is not None and not bounds[0].any():
        writer("Relu", x, to=node.output[0])
    elif low or high:
        writer("Max" if low else "Min", x, low or high, to=node.output[0])
    else:
        writer("Identity", x, to=node.output[0])
    return True


def modulo(writer: Writer) -> bool:
    """Mod with fmod is ``x - y * trunc(x / y)``, of the sign of x."""
    x, y = writer.node.input
    if not attributes(writer.node).get("fmod"):
        return False
    ratio = writer("Div", x, y)
    whole = writer("Mul", writer("Sign", ratio), writer("Floor", writer("Abs", ratio)))
    writer("Sub", x, writer("Mul", y, whole), to=writer.node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    "Elu": (elu,),
    "Gelu": (gelu,),
    "Swish": (swish,),
    "Mod": (modulo,),
    "Clip": (least, open_bounds),
    "Max": (least,),
}
