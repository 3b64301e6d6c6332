"""Histograms of float32 values: which bin a value falls into, and what a percentile gives back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multigraft.statistics.value_histogram import BINS, RELATIVE_ERROR, count, percentile

pytestmark = pytest.mark.filterwarnings("error")


def of(*values: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return count(np.array(values, np.float32))


def test_a_bin_is_sign_exponent_and_five_bits() -> None:
    assert (BINS, RELATIVE_ERROR) == (16384, 1 / 64)
    one = int(of(1.0).argmax())
    assert one == 127 * 32
    for value, place in ((1.0, 0), (1.03, 0), (1.03125, 1), (1.99, 31), (2.0, 32), (0.5, -32)):
        assert int(of(value).argmax()) == one + place, value
        assert int(of(-value).argmax()) == one + place + BINS // 2, value


def test_every_value_is_counted_once_whatever_the_shape() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    counts = count(values)
    assert counts.shape == (BINS,) and counts.dtype == np.int64 and counts.sum() == 60
    np.testing.assert_array_equal(count(values.ravel()), counts)
    np.testing.assert_array_equal(count(values[:, ::2].transpose(2, 0, 1)), count(values[:, ::2]))
    np.testing.assert_array_equal(count(values[:1]) + count(values[1:]), counts)
    np.testing.assert_array_equal(count(values.astype(np.float64)), counts)


@pytest.mark.parametrize(
    ("percent", "value"),
    [
        (0, -8.0),
        (10, -8.0),
        (20, -8.0),
        (21, -0.5),
        (40, -0.5),
        (41, 0.0),
        (60, 0.0),
        (61, 1.0),
        (80, 1.0),
        (81, 64.0),
        (100, 64.0),
    ],
)
def test_a_percentile_is_the_middle_of_the_bin_that_it_falls_into(percent: float, value: float) -> None:
    found = percentile(of(64.0, -0.5, 1.0, -8.0, 0.0), percent)
    assert type(found) is float
    assert found == pytest.approx(value * (1 + 1 / 64), rel=1e-6, abs=0)


def test_a_middle_is_exact_in_single_precision() -> None:
    assert percentile(of(1.0), 50) == 1.015625
    assert percentile(of(-3.0), 50) == -3.03125


def test_many_equal_values_have_their_share() -> None:
    counts = of(*[1.0] * 90, *[2.0] * 10)
    assert percentile(counts, 90) == percentile(counts, 0) == pytest.approx(1.015625, rel=1e-6)
    assert percentile(counts, 90.1) == pytest.approx(2.03125, rel=1e-6)


def test_what_is_too_small_for_an_exponent_counts_as_zero() -> None:
    for value in (0.0, -0.0, 1e-39, -1e-39):
        assert percentile(of(value), 50) == 0.0
    assert percentile(of(2.0**-126), 50) == pytest.approx(2.0**-126, rel=RELATIVE_ERROR)
    assert percentile(of(-(2.0**-126)), 50) == pytest.approx(-(2.0**-126), rel=RELATIVE_ERROR)
    assert percentile(of(-1e-39, 2.0**-126), 0) == 0.0


def test_the_ends_of_float32_have_their_bins() -> None:
    largest = float(np.finfo(np.float32).max)
    assert percentile(of(largest), 100) == pytest.approx(largest, rel=RELATIVE_ERROR)
    assert percentile(of(-largest), 0) == pytest.approx(-largest, rel=RELATIVE_ERROR)
    assert percentile(of(-largest, largest), 100) > 0 > percentile(of(-largest, largest), 50)


def test_nothing_counted_has_no_percentile() -> None:
    assert math.isnan(percentile(np.zeros(BINS, np.int64), 50))


def test_counts_of_any_integer_type_are_taken() -> None:
    assert percentile(of(1.0, 2.0).astype(np.uint8), 100) == percentile(of(1.0, 2.0), 100)
