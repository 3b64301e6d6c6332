"""TFLite's integer arithmetic a number at a time, written after the C++ sources with Python's integers.

Sources: gemmlowp fixedpoint/fixedpoint.h; tensorflow/lite/kernels/internal/common.h, quantization_util.cc and
reference/{hard_swish,leaky_relu}.h as of TensorFlow 2.14.
"""

from __future__ import annotations

import math
from fractions import Fraction

MOST = (1 << 31) - 1
LEAST = -(1 << 31)


def truncated(numerator: int, denominator: int) -> int:
    """C's division."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def quantized_multiplier(real: float) -> tuple[int, int]:
    """QuantizeMultiplier, by exact fractions."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(Fraction(fraction) * 2**31 + Fraction(1, 2))
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def high_multiply(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul."""
    if a == b == LEAST:
        return MOST
    nudge = 1 << 30 if a * b >= 0 else 1 - (1 << 30)
    return truncated(a * b + nudge, 1 << 31)


def divide_by_power(x: int, exponent: int) -> int:
    """RoundingDivideByPOT."""
    mask = (1 << exponent) - 1
    remainder, threshold = x & mask, (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def multiplied(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier."""
    return divide_by_power(high_multiply(x * (1 << max(shift, 0)), multiplier), max(-shift, 0))


def shifted(x: int, bits: int) -> int:
    """SaturatingRoundingMultiplyByPOT with a positive exponent."""
    threshold = (1 << (31 - bits)) - 1
    if x > threshold:
        return MOST
    return LEAST if x < -threshold else x << bits


def exp_between_negative_quarter_and_0(a: int) -> int:
    x = a + (1 << 28)
    x2 = high_multiply(x, x)
    x3, x4 = high_multiply(x2, x), high_multiply(x2, x2)
    inner = divide_by_power(high_multiply(divide_by_power(x4, 2) + x3, 715827883) + x2, 1)
    return min(MOST, 1895147668 + high_multiply(1895147668, x + inner))


BARREL = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}


def exp_on_negative_values(a: int, integer_bits: int) -> int:
    if a == 0:
        return MOST
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    reduced = (a & (quarter - 1)) - quarter
    result = exp_between_negative_quarter_and_0(shifted(reduced, integer_bits))
    for exponent, multiplier in BARREL.items():
        if integer_bits > exponent and (reduced - a) & (1 << (fraction_bits + exponent)):
            result = high_multiply(result, multiplier)
    if integer_bits > 5 and a < -(1 << (36 - integer_bits)):
        return 0
    return result


def newton(a: int) -> int:
    """What one_over_one_plus_x and one_minus_x_over_one_plus_x share, in Q2.29."""
    total = a + MOST
    half = truncated(total + (1 if total >= 0 else -1), 2)
    x = 1515870810 + high_multiply(half, -1010580540)
    for _ in range(3):
        x += shifted(high_multiply(x, (1 << 29) - high_multiply(half, x)), 2)
    return x


def logistic(a: int, integer_bits: int) -> int:
    if a == 0:
        return 1 << 30
    positive = shifted(newton(exp_on_negative_values(-abs(a), integer_bits)), 1)
    return positive if a > 0 else MOST - positive


def tanh(a: int, integer_bits: int) -> int:
    if a == 0:
        return 0
    positive = shifted(newton(exp_on_negative_values(-abs(a), integer_bits + 1)) - (1 << 29), 2)
    return positive if a > 0 else -positive


def high_multiply16(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul of int16."""
    nudge = 1 << 14 if a * b >= 0 else 1 - (1 << 14)
    return truncated(a * b + nudge, 1 << 15)


def shifted16(x: int, bits: int) -> int:
    """SaturatingLeftShift of int16."""
    return max(-(1 << 15), min((1 << 15) - 1, x * (1 << bits)))


def multiplier16(real: float) -> tuple[int, int]:
    """DownScaleInt32ToInt16Multiplier of a quantised multiplier."""
    multiplier, exponent = quantized_multiplier(real)
    return ((1 << 15) - 1 if multiplier >= MOST - (1 << 15) else (multiplier + (1 << 15)) >> 16), exponent


def hard_swish(code: int, zero_points: tuple[int, int], output: tuple[int, int], gate: tuple[int, int]) -> int:
    """HardSwish with the multipliers of output and gate, not clamped."""
    fine = (code - zero_points[0]) * 128
    reluish = fine
    if gate[1] > 0:
        reluish = shifted16(reluish, gate[1] - 1)
    reluish = high_multiply16(reluish, gate[0])
    if gate[1] > 0:
        reluish = shifted16(reluish, 1)
    if gate[1] < 0:
        reluish = divide_by_power(reluish, -gate[1])
    reluish = (reluish + (1 << 15)) >> 1
    product = truncated(reluish * high_multiply16(fine, output[0]), 1 << 15)
    return divide_by_power(product, -output[1]) + zero_points[1]
