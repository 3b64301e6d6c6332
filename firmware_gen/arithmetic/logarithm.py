"""The natural logarithm in gemmlowp's fixed point, in numpy and bit for bit.

Source: ``log_x_for_x_greater_than_or_equal_to_1_impl`` in tensorflow/lite/kernels/internal/common.h as of TensorFlow
2.14, for Q12.19 in and Q5.26 out.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.fixed_point import doubling_high_multiply, one_over_one_plus, rounding_shift
from multigraft.tensors.arrays import Array

_IN_BITS, _OUT_BITS = 12, 5
_ACCUMULATED_BITS = _OUT_BITS + 1
_LOG_2, _SQRT_SQRT_HALF, _SQRT_HALF = 1488522236, 1805811301, 1518500250
_ALPHA_N, _ALPHA_D, _ALPHA_I, _ALPHA_F = 117049297, 127690142, 1057819769, 638450708


def _saturated(x: Array) -> Array:
    return np.asarray(np.clip(x, -(1 << 31), (1 << 31) - 1))


def _half_sum(a: Array, b: int) -> Array:
    total = a + b
    # C divides towards zero.
    return np.asarray(np.sign(total) * ((np.abs(total) + 1) >> 1))


def _leading_zeros(x: Array) -> Array:
    bits: Array = np.vectorize(lambda v: int(v).bit_length(), otypes=[np.int64])(x)
    return 32 - bits


def log(x: Array) -> Array:
    """The logarithm of Q12.19, which is 1 or more, as Q5.26."""
    multiply = doubling_high_multiply
    quarter = 1 << (29 - _ACCUMULATED_BITS)
    one = 1 << (31 - _ACCUMULATED_BITS)
    first = _leading_zeros(x)
    r_a = _saturated(multiply(_saturated(x << (first - 1)), _SQRT_HALF) << 1)
    power_a = _saturated((_IN_BITS - first) * one + quarter)
    second = _leading_zeros(multiply(x, _SQRT_HALF)) - 1
    r_b = _saturated(x << second)
    power_b = _saturated((_IN_BITS - second) * one - quarter)
    r, power = np.minimum(r_a, r_b), np.maximum(power_a, power_b)
    p, q = _half_sum(r, _SQRT_SQRT_HALF), 2 * (r - _SQRT_SQRT_HALF)
    square = multiply(q, q)
    above = multiply(q, r) + multiply(multiply(q, square), _ALPHA_N)
    below = multiply(p, _ALPHA_I + q + multiply(square, _ALPHA_D)) + multiply(q, _ALPHA_F)
    scaled = rounding_shift(above, _ACCUMULATED_BITS)
    return _saturated((multiply(power, _LOG_2) + multiply(scaled, one_over_one_plus(below))) << 1)
