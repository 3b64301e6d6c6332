"""The arithmetic over arrays is that of the C++ sources, number by number, and close to the real functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.firmware_gen.arithmetic import fixed_point
from tests.firmware_gen.arithmetic import gemmlowp

Integers = npt.NDArray[np.int64]
INT32 = st.integers(gemmlowp.LEAST, gemmlowp.MOST)
ENDS = (0, 1, -1, 2, 1 << 30, -(1 << 30), (1 << 30) - 1, -(1 << 30) - 1, gemmlowp.MOST, gemmlowp.LEAST)


def each(function: Callable[..., int], *arrays: Any) -> Integers:
    return np.array([function(*map(int, values)) for values in zip(*arrays, strict=True)], np.int64)


def spread(seed: int, count: int = 400) -> Integers:
    """int32 of all magnitudes, and the ends."""
    random = np.random.default_rng(seed)
    sized = random.integers(-(1 << 31), 1 << 31, count) >> random.integers(0, 31, count)
    return np.concatenate([sized, ENDS])


@settings(max_examples=200, derandomize=True)
@given(st.floats(2.0**-40, 2.0**20))
def test_a_multiplier_is_the_nearest_there_is(real: float) -> None:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    assert (multiplier, shift) == gemmlowp.quantized_multiplier(real)
    if shift or multiplier:
        assert 1 << 30 <= multiplier < 1 << 31
        assert abs(real / 2.0 ** (shift - 31) - multiplier) <= 0.5


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (0.75, (3 << 29, 0)),
        (2.0**-32, (1 << 30, -31)),
        (2.0**-33, (0, 0)),
        (math.nextafter(2.0**-32, 0), (1 << 30, -31)),
        (math.nextafter(1.0, 0), (1 << 30, 1)),
        (1 - 2.0**-32, (1 << 30, 1)),
        (1 - 2.0**-31, ((1 << 31) - 1, 0)),
        ((2.0**30 + 0.5) / 2**31, ((1 << 30) + 1, 0)),
        ((2.0**30 + 1.5) / 2**31, ((1 << 30) + 2, 0)),
    ],
)
def test_multipliers_at_their_ends(real: float, expected: tuple[int, int]) -> None:
    found = fixed_point.quantize_multiplier(real)
    assert found == expected == gemmlowp.quantized_multiplier(real)
    assert (type(found[0]), type(found[1])) == (int, int)


def test_products_of_32_bits() -> None:
    a, b = spread(1), np.random.default_rng(2).permutation(spread(3))
    pairs = np.array([(x, y) for x in ENDS for y in ENDS])
    a, b = np.concatenate([a, pairs[:, 0]]), np.concatenate([b, pairs[:, 1]])
    found = fixed_point.doubling_high_multiply(a, b)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, each(gemmlowp.high_multiply, a, b))
    np.testing.assert_array_equal(
        fixed_point.doubling_high_multiply(a.astype(np.int32), 12345),
        each(lambda x: gemmlowp.high_multiply(x, 12345), a),
    )
    assert int(fixed_point.doubling_high_multiply(np.int32(gemmlowp.LEAST), gemmlowp.LEAST)) == gemmlowp.MOST  # type: ignore[arg-type]


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, 30, 31])
def test_division_by_a_power_of_two(exponent: int) -> None:
    half = (1 << exponent) // 2
    x = np.concatenate([spread(4), [half, -half, half + 1, -half - 1, half - 1, -half + 1, 3 * half, -3 * half]])
    expected = each(lambda v: gemmlowp.divide_by_power(v, exponent), x)
    found = fixed_point.rounding_shift(x, exponent)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    narrow = x[np.abs(x) < 1 << 31]
    np.testing.assert_array_equal(
        fixed_point.rounding_shift(narrow.astype(np.int32), np.full(len(narrow), exponent)),
        expected[np.abs(x) < 1 << 31],
    )


def test_exponents_may_differ_from_number_to_number() -> None:
    x = np.repeat(spread(5, 60), 32)
    exponents = np.tile(np.arange(32), len(x) // 32)
    np.testing.assert_array_equal(
        fixed_point.rounding_shift(x, exponents), each(gemmlowp.divide_by_power, x, exponents)
    )


@settings(max_examples=200, derandomize=True)
@given(st.integers(-(1 << 20), 1 << 20), st.integers(1 << 30, gemmlowp.MOST), st.integers(-31, 10))
def test_rescaling(x: int, multiplier: int, shift: int) -> None:
    expected = gemmlowp.multiplied(x, multiplier, shift)
    assert int(fixed_point.rescale(np.array(x), multiplier, shift)) == expected
    pair = fixed_point.rescale(np.array([x, 7]), np.array([multiplier, 1 << 30]), np.array([shift, 1]))
    assert pair.tolist() == [expected, 7] and pair.dtype == np.int64


def arguments(integer_bits: int) -> Integers:
    """Values not above 0 in Q(integer_bits), dense around every point where the algorithm changes its way."""
    fraction_bits = 31 - integer_bits
    edges = [1 << (fraction_bits + e) for e in range(-2, integer_bits)] + [1 << (fraction_bits - 3)]
    near = [e + d for e in edges for d in (-2, -1, 0, 1, 2)] + [3 * e for e in edges] + [0, 1, 2]
    random = np.random.default_rng(integer_bits)
    values = np.concatenate([near, random.integers(0, 1 << 31, 300) >> random.integers(0, 31, 300), [1 << 31]])
    return -values[values <= 1 << 31]


@pytest.mark.parametrize("integer_bits", [0, 1, 4, 5, 6, 7])
def test_exponential(integer_bits: int) -> None:
    a = arguments(integer_bits)
    found = fixed_point.exp_on_negative(a, integer_bits)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, each(lambda v: gemmlowp.exp_on_negative_values(v, integer_bits), a))
    real = np.exp(a / 2.0 ** (31 - integer_bits))
    np.testing.assert_allclose(found / 2.0**31, real, atol=3e-7)
    np.testing.assert_array_equal(
        fixed_point.exp_on_negative(a[a > -(1 << 31)].astype(np.int32), integer_bits), found[a > -(1 << 31)]
    )


@pytest.mark.parametrize("integer_bits", [3, 4, 5])
@pytest.mark.parametrize("name", ["logistic", "tanh"])
def test_logistic_and_tanh(name: str, integer_bits: int) -> None:
    below = arguments(integer_bits)
    below = below[below > -(1 << 31)]
    a = np.concatenate([below, -below])
    function = getattr(fixed_point, name)
    found = function(a, integer_bits)
    scalar = getattr(gemmlowp, name)
    np.testing.assert_array_equal(found, each(lambda v: scalar(v, integer_bits), a))
    real = a / 2.0 ** (31 - integer_bits)
    expected = np.tanh(real) if name == "tanh" else 1 / (1 + np.exp(-real))
    np.testing.assert_allclose(found / 2.0**31, expected, atol=2e-6)
    if integer_bits == 4:
        np.testing.assert_array_equal(function(a), found)
    np.testing.assert_array_equal(function(a.astype(np.int32), integer_bits), found)


def test_one_over_one_plus() -> None:
    a = np.concatenate([np.abs(spread(6)[:-1]), [0, 1, gemmlowp.MOST, gemmlowp.MOST - 1]])
    found = fixed_point.one_over_one_plus(a)
    np.testing.assert_array_equal(found, each(lambda v: gemmlowp.shifted(gemmlowp.newton(v), 1), a))
    np.testing.assert_allclose(found / 2.0**31, 1 / (1 + a / 2.0**31), atol=1e-8)
    np.testing.assert_array_equal(fixed_point.one_over_one_plus(a.astype(np.int32)), found)
    # The sum with one is rounded half away from zero, below zero, too.
    negative = np.array([-(1 << 31), -5, -4])
    np.testing.assert_array_equal(
        fixed_point.one_over_one_plus(negative), each(lambda v: gemmlowp.shifted(gemmlowp.newton(v), 1), negative)
    )
