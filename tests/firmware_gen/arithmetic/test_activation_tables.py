"""HARD_SWISH and LEAKY_RELU of all int8 codes: the C++ sources number by number, and close to the real functions."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.firmware_gen.arithmetic.activation_tables import hard_swish, has_hard_swish, leaky_relu
from multigraft.tflite.graph import Quant
from tests.firmware_gen.arithmetic import gemmlowp

CODES = np.arange(-128, 128, dtype=np.int64)


def quant(scale: float, zero_point: int) -> Quant:
    return Quant((float(np.float32(scale)),), (zero_point,))


def single(*factors: float) -> float:
    """The quotient of the first by the others, in single precision step by step."""
    result = np.float32(factors[0])
    for factor in factors[1:]:
        result = result / np.float32(factor)
    return float(result)


SCALES = [(0.05, 0.05), (0.02, 0.1), (0.1, 0.02), (0.031, 0.0017), (0.07, 3.3), (2.0, 0.5), (0.003, 0.25)]
ZERO_POINTS = [(0, 0), (-128, 127), (127, -128), (-37, 11), (5, -90)]


@pytest.mark.parametrize("zero_points", ZERO_POINTS)
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0, 1.7, 0.0])
def test_leaky_relu(alpha: float, scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    source, result = (quant(s, z) for s, z in zip(scales, zero_points, strict=True))
    above = gemmlowp.quantized_multiplier(single(scales[0], scales[1]))
    product = np.float32(scales[0]) * np.float32(alpha) / np.float32(scales[1])
    below = gemmlowp.quantized_multiplier(float(product))
    expected = []
    for code in CODES.tolist():
        centred = code - zero_points[0]
        expected.append(gemmlowp.multiplied(centred, *(above if centred >= 0 else below)) + zero_points[1])
    np.testing.assert_array_equal(leaky_relu(CODES, source, result, alpha), expected)
    real = (CODES - zero_points[0]) * scales[0]
    real = np.where(real >= 0, real, alpha * real)
    np.testing.assert_allclose((np.array(expected) - zero_points[1]) * scales[1], real, atol=0.76 * scales[1])


def multipliers(scales: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
    fine = np.float32(scales[0]) / np.float32(128)
    output = gemmlowp.multiplier16(float(fine / np.float32(scales[1])))
    return output, gemmlowp.multiplier16(float(fine / np.float32(3 / 32768)))


SWISHES = [
    (0.0236, 0.00024),
    (0.011, 0.0001),
    (0.03, 0.0003),
    (0.05, 0.05),
    (0.02, 0.1),
    (0.1, 0.02),
    (0.07, 3.3),
    (0.25, 0.002),
    (2.0, 0.5),
    (0.003, 0.25),
    (0.0001, 0.01),
    (0.011718750, 0.06),
    (0.0117187, 0.01),
    (0.0234375, 0.02),
    (0.5, 0.0625),
]


@pytest.mark.parametrize("zero_points", ZERO_POINTS)
@pytest.mark.parametrize("scales", SWISHES)
def test_hard_swish(scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    source, result = (quant(s, z) for s, z in zip(scales, zero_points, strict=True))
    output, gate = multipliers(scales)
    assert has_hard_swish(source, result) and output[1] <= 0
    expected = [gemmlowp.hard_swish(code, zero_points, output, gate) for code in CODES.tolist()]
    np.testing.assert_array_equal(hard_swish(CODES, source, result), expected)
    real = (CODES - zero_points[0]) * scales[0]
    real = real * np.clip(real + 3, 0, 6) / 6
    clipped = np.clip(expected, -128, 127)
    nearest = np.clip(real / scales[1] + zero_points[1], -128, 127)
    # Two 16-bit roundings; the kernel's own tests allow as much.
    assert np.abs(clipped - nearest).max() <= 1.5


def test_the_gates_shift_is_positive_zero_and_negative_in_these_cases() -> None:
    exponents = {multipliers(scales)[1][1] for scales in SWISHES}
    assert max(exponents) > 2 and 1 in exponents and 0 in exponents and min(exponents) < -2


@pytest.mark.parametrize(
    ("scales", "is_there"),
    [
        ((1.0, 1 / 64), True),
        ((1.0, 1 / 128), False),
        ((1.0, 0.0079), True),
        ((1.0, 0.0078), False),
        ((0.05, 0.05), True),
    ],
)
def test_the_output_scale_has_to_be_coarse_enough(scales: tuple[float, float], is_there: bool) -> None:
    assert has_hard_swish(quant(scales[0], 3), quant(scales[1], 4)) == is_there
    assert (multipliers(scales)[0][1] <= 0) == is_there


def test_a_multiplier_that_would_round_up_to_one_stays_below_it() -> None:
    """A quotient just below a power of two: its 31 bits round to 2^15 in 16, which int16 does not hold."""
    scale = float(np.nextafter(np.float32(3 / 256), np.float32(0)))
    source, result = quant(scale, 0), quant(scale, 0)
    output, gate = multipliers((scale, scale))
    assert gate[0] == (1 << 15) - 1
    expected = [gemmlowp.hard_swish(code, (0, 0), output, gate) for code in CODES.tolist()]
    np.testing.assert_array_equal(hard_swish(CODES, source, result), expected)
