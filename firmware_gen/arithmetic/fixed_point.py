"""The integer arithmetic of TFLite's reference kernels, in numpy and bit for bit.

Sources: gemmlowp fixedpoint/fixedpoint.h; tensorflow/lite/kernels/internal/common.h and quantization_util.cc as of
TensorFlow 2.14, without ``TFLITE_SINGLE_ROUNDING``: rescaling rounds twice, first at bit 31, then at the shift.
All values are held in int64 arrays; they are what the C code holds in int32.
"""

from __future__ import annotations

import math

import numpy as np

from multigraft.tensors.arrays import Array

_ONE = 1 << 31


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A double as (multiplier in [2^30, 2^31), shift): ``real = multiplier * 2^(shift - 31)``; 0 is (0, 0)."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * _ONE + 0.5)
    if multiplier == _ONE:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def doubling_high_multiply(a: Array, b: Array | int) -> Array:
    """SaturatingRoundingDoublingHighMul: ``round(a * b / 2^31)``, ties upwards; -2^31 squared saturates."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, _ONE - 1)


def rounding_shift(x: Array, exponent: Array | int) -> Array:
    """RoundingDivideByPOT: ``round(x / 2^exponent)``, ties away from zero."""
    x = np.asarray(x, np.int64)
    e = np.asarray(exponent, np.int64)
    half = np.where(e > 0, np.left_shift(np.int64(1), np.maximum(e - 1, 0)), 0)
    return np.asarray((x + np.where(e > 0, half - (x < 0), 0)) >> e)


def rescale(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """MultiplyByQuantizedMultiplier: ``x * multiplier * 2^(shift - 31)``, rounded twice.

    What is shifted beyond 32 bits wraps around, as in the kernels: an output whose scale is that fine means little.
    """
    shift = np.asarray(shift, np.int64)
    left = np.left_shift(np.asarray(x, np.int64), np.maximum(shift, 0)).astype(np.int32).astype(np.int64)
    return rounding_shift(doubling_high_multiply(left, multiplier), np.maximum(-shift, 0))


def exp_on_negative(a: Array, integer_bits: int) -> Array:
    """gemmlowp's ``exp_on_negative_values``: Q(integer_bits).x in, Q0.31 out."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    a = np.asarray(a, np.int64)
    reduced = (a & (quarter - 1)) - quarter
    result = _exp_between_negative_one_quarter_and_0(reduced << integer_bits)
    remainder = reduced - a
    factors = [1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242]
    for exponent, factor in zip(range(-2, 5), factors, strict=True):
        if integer_bits > exponent:
            bit = 1 << (fraction_bits + exponent)
            result = np.where(remainder & bit, doubling_high_multiply(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, _ONE - 1, result)


def _exp_between_negative_one_quarter_and_0(a: Array) -> Array:
    constant = 1895147668
    third = 715827883
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3 = doubling_high_multiply(x2, x)
    x4 = doubling_high_multiply(x2, x2)
    x4_over_4 = rounding_shift(x4, 2)
    inner = rounding_shift(doubling_high_multiply(x4_over_4 + x3, third) + x2, 1)
    return constant + doubling_high_multiply(np.full_like(x, constant), x + inner)


def one_over_one_plus(a: Array) -> Array:
    """gemmlowp's ``one_over_one_plus_x_for_x_in_0_1``: Q0.31 in and out, three Newton steps."""
    a = np.asarray(a, np.int64)
    total = a + (_ONE - 1)
    half = (total + np.where(total >= 0, 1, -1)) // 2
    x = 1515870810 + doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        step = (1 << 29) - doubling_high_multiply(half, x)
        x = x + _saturating_shift(doubling_high_multiply(x, step), 2)
    return _saturating_shift(x, 1)


def _saturating_shift(x: Array, bits: int) -> Array:
    return np.clip(np.asarray(x, np.int64) << bits, -_ONE, _ONE - 1)


def logistic(a: Array, integer_bits: int = 4) -> Array:
    """gemmlowp's ``logistic``: Q(integer_bits).x in, Q0.31 out."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus(exp_on_negative(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, _ONE - 1 - positive))


def tanh(a: Array, integer_bits: int = 4) -> Array:
    """gemmlowp's ``tanh``: Q(integer_bits).x in, Q0.31 out."""
    a = np.asarray(a, np.int64)
    # Twice the value is the same raw number with one integer bit more.
    e = exp_on_negative(-np.abs(a), integer_bits + 1)
    half = (e + (_ONE - 1) + 1) // 2
    x = 1515870810 + doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        x = x + _saturating_shift(doubling_high_multiply(x, (1 << 29) - doubling_high_multiply(half, x)), 2)
    one_minus = _saturating_shift(x - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a > 0, one_minus, -one_minus))
