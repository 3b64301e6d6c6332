"""gemmlowp's sigmoid and hyperbolic tangent in 16 bits, in numpy and bit for bit: what the gates of an LSTM go by.

Source: gemmlowp fixedpoint/fixedpoint.h for ``FixedPoint<int16_t, ...>``. Values are held in int64 arrays; a Q3.12 has
3 integer bits. Constants are those of the 32-bit form, rounded to their upper half.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.fixed_point import rounding_shift
from multigraft.tensors.arrays import Array

LEAST, GREATEST = -(1 << 15), (1 << 15) - 1
_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp of -1/4, -1/2, ... -16 in Q0.31."""


def saturated(x: Array) -> Array:
    """The nearest int16."""
    return np.clip(x, LEAST, GREATEST)


def product_rounded(a: Array, b: Array | int) -> Array:
    """SaturatingRoundingDoublingHighMul of 16 bits: ``a * b / 2^15``, halves rounded upwards, as C divides."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.where((a == LEAST) & (np.asarray(b) == LEAST), GREATEST, np.sign(nudged) * (np.abs(nudged) >> 15))


def sigmoid(a: Array) -> Array:
    """``logistic`` of Q3.12, as Q0.15."""
    a = np.asarray(a, np.int64)
    half, start = _denominator(exp_on_negative(-np.abs(a), 3))
    positive = saturated(_reciprocal(half, start) << 1)
    return np.where(a == 0, 1 << 14, np.where(a > 0, positive, GREATEST - positive))


def tanh(a: Array, integer_bits: int) -> Array:
    """``tanh`` of a number with so many integer bits, as Q0.15."""
    a = np.asarray(a, np.int64)
    # Twice the value is the same raw number with one integer bit more.
    half, start = _denominator(exp_on_negative(-np.abs(a), integer_bits + 1))
    positive = saturated((_reciprocal(half, start) - (1 << 13)) << 2)
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def exp_on_negative(a: Array, integer_bits: int) -> Array:
    """``exp_on_negative_values`` of a number with so many integer bits, as Q0.15."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    reduced = (a & (quarter - 1)) - quarter
    result = _exp_near_0(saturated(reduced << integer_bits))
    remainder = reduced - a
    for exponent, factor in zip(range(-2, 5), _FACTORS, strict=True):
        if integer_bits > exponent:
            met = remainder & (1 << (fraction_bits + exponent))
            result = np.where(met != 0, product_rounded(result, _constant(factor)), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, GREATEST, result)


def _constant(raw: int) -> int:
    return (raw + (1 << 15)) >> 16


def _exp_near_0(a: Array) -> Array:
    """exp from -1/4 to 0 by its Taylor series around -1/8."""
    start = _constant(1895147668)
    x = a + (1 << 12)
    x2 = product_rounded(x, x)
    x3 = product_rounded(x2, x)
    fourth = rounding_shift(product_rounded(x2, x2), 2)
    rest = rounding_shift(product_rounded(fourth + x3, _constant(715827883)) + x2, 1)
    return saturated(start + product_rounded(x + rest, start))


def _denominator(e: Array) -> tuple[Array, Array]:
    """Half of 1 + e, and where Newton's method for its reciprocal begins."""
    half = (e + GREATEST + 1) // 2
    return half, _constant(1515870810) + product_rounded(half, _constant(-1010580540))


def _reciprocal(half: Array, x: Array) -> Array:
    for _ in range(3):
        error = (1 << 13) - product_rounded(half, x)
        x = x + saturated(product_rounded(x, error) << 2)
    return x
