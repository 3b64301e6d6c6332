"""One multiplication equals the reference's two roundings for every accumulator that can occur, or there is none."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier
from multigraft.firmware_gen.arithmetic.requantise import (
    LARGEST_MULTIPLIER,
    Affine,
    Rescaling,
    Summed,
    Upper,
    find_steps,
    largest_shift,
    solve,
    solve_upper,
)
from tests.firmware_gen.arithmetic import gemmlowp

Integers = npt.NDArray[np.int64]


def rescaling(real: float, zero_point: int = 0, low: int = -128, high: int = 127) -> Rescaling:
    return Rescaling(*quantize_multiplier(real), zero_point, low, high)


def steps_of(wanted: Rescaling, least: int, most: int) -> tuple[Integers, Integers]:
    (found,) = find_steps([wanted], np.array([least]), np.array([most]))
    return found


def every(least: int, most: int) -> Integers:
    return np.arange(least, most + 1, dtype=np.int64)


def test_the_reference_rescales_adds_the_zero_point_and_clamps() -> None:
    wanted = rescaling(0.3, 5, -20, 90)
    a = np.array([-1000, -83, -1, 0, 1, 5, 283, 284, 1000])
    expected = [max(-20, min(90, gemmlowp.multiplied(v, wanted.multiplier, wanted.shift) + 5)) for v in a.tolist()]
    assert wanted.apply(a).tolist() == expected and {-20, 5, 90} < set(expected)
    assert (Rescaling(1, 2, 3).low, Rescaling(1, 2, 3).high) == (-128, 127)


def test_an_affine_shifts_and_clamps() -> None:
    one = Affine(3, -7, 2)
    a = np.array([-1000, -4, 0, 1, 5, 1000])
    assert one.apply(a).tolist() == [-128, -5, -2, -1, 2, 127]
    assert one.apply(a, -3, 1).tolist() == [-3, -3, -2, -1, 1, 1]
    assert one.apply(a.astype(np.int32)).dtype == np.int64
    assert Affine(LARGEST_MULTIPLIER, 0, 31).apply(np.array([100], np.int32)).tolist() == [99]


@pytest.mark.parametrize(
    ("real", "zero_point", "low", "high", "least", "most"),
    [
        (0.01, 0, -128, 127, -20_000, 20_000),
        (0.01, -128, -128, 127, -20_000, 20_000),
        (0.3, 5, -20, 90, -1000, 1000),
        (0.3, 5, -20, 90, 3, 40),
        (0.007, 100, -128, 127, -5, 5),
        (1.7, 0, -128, 127, -100, 100),
        (0.0, 3, -128, 127, -100, 100),
        (0.01, 0, -128, 127, 77, 77),
    ],
)
def test_steps_are_where_the_reference_rises(
    real: float, zero_point: int, low: int, high: int, least: int, most: int
) -> None:
    wanted = rescaling(real, zero_point, low, high)
    a = every(least, most)
    stored = wanted.apply(a)
    values, reached = steps_of(wanted, least, most)
    expected = [v for v in range(low + 1, high + 1) if stored[0] < v <= stored[-1]]
    assert values.tolist() == expected and values.dtype == np.int64
    assert reached.tolist() == [int(a[np.argmax(stored >= v)]) for v in expected]


def test_channels_have_steps_of_their_own() -> None:
    wanted = [rescaling(real, 2, -100, 100) for real in (0.01, 0.02, 1.3)]
    least, most = np.array([-3000, 0, -7]), np.array([200, 4000, 90])
    for number, found in enumerate(find_steps(wanted, least, most)):
        alone = steps_of(wanted[number], int(least[number]), int(most[number]))
        for a, b in zip(found, alone, strict=True):
            np.testing.assert_array_equal(a, b)


def check(wanted: Rescaling, least: int, most: int, shift: int) -> Affine | None:
    found = solve(wanted, least, most, steps_of(wanted, least, most), shift)
    if found is not None:
        a = every(least, most)
        np.testing.assert_array_equal(found.apply(a, wanted.low, wanted.high), wanted.apply(a))
        assert found.shift == shift and 0 <= found.multiplier <= LARGEST_MULTIPLIER
        assert {type(found.multiplier), type(found.offset)} == {int}
    return found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.floats(1e-4, 1.9),
    st.integers(-128, 127),
    st.integers(-128, 0),
    st.integers(1, 127),
    st.integers(-40_000, 20_000),
    st.integers(0, 40_000),
    st.integers(32, 36),
)
def test_what_is_found_equals_the_reference_everywhere(
    real: float, zero_point: int, low: int, high: int, least: int, width: int, shift: int
) -> None:
    check(rescaling(real, zero_point, low, high), least, least + width, shift)


@pytest.mark.parametrize("real", [0.0003, 0.0021, 0.0117, 0.049, 0.13, 0.31])
def test_layers_behind_a_relu_have_a_solution(real: float) -> None:
    wanted = rescaling(real, -128)
    shift = largest_shift([wanted], 36)
    found = check(wanted, -30_000, 30_000, shift)
    assert found is not None
    assert abs(found.multiplier / 2.0**shift / real - 1) < 1e-6


def brute(wanted: Rescaling, least: int, most: int, shift: int) -> dict[int, tuple[int, int]]:
    """Every multiplier within 24 of the exact one with its least and greatest offset, from all accumulators."""
    a = every(least, most)
    stored = wanted.apply(a)
    above, below = stored > wanted.low, stored < wanted.high
    possible = {}
    centre = nearest(wanted, shift)
    for multiplier in range(max(1, centre - 24), min(LARGEST_MULTIPLIER, centre + 24) + 1):
        low = np.max((stored[above] << shift) - multiplier * a[above])
        high = np.min(((stored[below] + 1) << shift) - 1 - multiplier * a[below])
        if low <= high:
            possible[multiplier] = (int(low), int(high))
    return possible


def nearest(wanted: Rescaling, shift: int) -> int:
    """The exact multiplier, rounded half up."""
    return math.floor(wanted.multiplier * Fraction(2) ** (wanted.shift - 31 + shift) + Fraction(1, 2))


def check_by_search(wanted: Rescaling, least: int, most: int, shift: int) -> None:
    """What is found is the nearest multiplier of all that do, with the offset in the middle; else there is none."""
    possible = brute(wanted, least, most, shift)
    found = check(wanted, least, most, shift)
    assert (found is not None) == bool(possible)
    if found is not None:
        centre = nearest(wanted, shift)
        assert found.multiplier == min(possible, key=lambda m: (abs(m - centre), m))
        low, high = possible[found.multiplier]
        assert found.offset == (low + high) // 2


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data(), st.floats(0.02, 1.9), st.integers(2, 12))
def test_there_is_one_if_and_only_if_a_search_finds_one(data: st.DataObject, real: float, shift: int) -> None:
    """Small shifts leave too few multipliers for most ranges; then none is claimed."""
    low, high = data.draw(st.integers(-20, 0)), data.draw(st.integers(1, 20))
    wanted = rescaling(real, data.draw(st.integers(-30, 30)), low, high)
    least = data.draw(st.integers(-60, 40))
    most = least + data.draw(st.integers(0, 60))
    stored = wanted.apply(every(least, most))
    if stored[0] == stored[-1]:
        assert check(wanted, least, most, shift) == Affine(0, int(stored[0]) << shift, shift)
    else:
        check_by_search(wanted, least, most, shift)


@pytest.mark.parametrize(
    ("real", "least", "most", "shift"),
    [(0.0473, -200, 250, 9), (0.13, -300, 5, 12), (0.5, -30, 25, 7), (0.77, 10, 90, 9), (0.5, -3, 4, 31)],
)
def test_the_nearest_multiplier_is_found_in_wide_ranges(real: float, least: int, most: int, shift: int) -> None:
    check_by_search(rescaling(real, 3, -100, 90), least, most, shift)


def test_a_layer_that_gives_one_value_needs_no_multiplication() -> None:
    for wanted, least, most, value in (
        (rescaling(0.0, 9), -100, 100, 9),
        (rescaling(0.0, 120, -5, 50), -100, 100, 50),
        (rescaling(0.01, -7), 3, 3, -7),
        (rescaling(0.001, -7), -100, 100, -7),
    ):
        found = check(wanted, least, most, 36)
        assert found == Affine(0, value << 36, 36)


def test_a_multiplier_beyond_31_bits_is_not_used() -> None:
    wanted = rescaling(0.9999)
    assert solve(wanted, -100, 100, steps_of(wanted, -100, 100), 36) is None
    found = check(wanted, -100, 100, 31)
    assert found is not None and found.multiplier <= LARGEST_MULTIPLIER == 2**31 - 1


def check_upper(wanted: Rescaling, ends: tuple[int, int, int], shift: int, factor: int, starts: int) -> Upper | None:
    found = check_uppers([(wanted, ends, factor)], shift, starts)
    return None if found is None else found[0]


def check_uppers(
    channels: list[tuple[Rescaling, tuple[int, int, int], int]], shift: int, starts: int
) -> tuple[Upper, ...] | None:
    """What is found computes the reference's values of every accumulator, and nothing of it leaves 32 bits."""
    summed = [
        Summed(wanted, least, most, bias, steps_of(wanted, least, most), factor)
        for wanted, (least, most, bias), factor in channels
    ]
    found = solve_upper(summed, shift, np.arange(starts))
    if found is not None:
        assert len(found) == len(channels) and len({one.start for one in found}) == 1
        for one, c in zip(found, summed, strict=True):
            a = every(c.least, c.most)
            answers = one.apply(a - c.bias, c.factor, c.wanted.low, c.wanted.high)
            np.testing.assert_array_equal(answers, c.wanted.apply(a))
            sums = c.factor * (a - c.bias) + one.start
            uppers = (sums * one.multiplier >> 32) + one.added
            assert max(np.abs(sums).max(), np.abs(uppers).max(), abs(one.added)) < 1 << 31
            assert 0 <= one.multiplier <= LARGEST_MULTIPLIER and 0 <= one.start < starts
    return found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.floats(1e-4, 0.9),
    st.integers(-128, 127),
    st.integers(-128, 0),
    st.integers(1, 127),
    st.tuples(st.integers(-40_000, 20_000), st.integers(0, 40_000), st.integers(-50_000, 50_000)),
    st.integers(32, 44),
    st.sampled_from([1, 256, 8192]),
    st.sampled_from([1, 5000]),
)
def test_the_upper_word_of_one_product_equals_the_reference_everywhere(
    real: float, zero_point: int, low: int, high: int, ends: tuple[int, int, int], shift: int, factor: int, starts: int
) -> None:
    least, width, bias = ends
    check_upper(rescaling(real, zero_point, low, high), (least, least + width, bias), shift, factor, starts)


@pytest.mark.parametrize("real", [0.0003, 0.0021, 0.0117, 0.049, 0.13, 0.31])
@pytest.mark.parametrize(("factor", "starts"), [(1, 1 << 20), (256, 1 << 20), (8192, 64)])
def test_layers_behind_a_relu_are_rescaled_by_an_upper_word(real: float, factor: int, starts: int) -> None:
    wanted = rescaling(real, -128)
    assert check_upper(wanted, (-30_000, 30_000, 1234), largest_shift([wanted], 44), factor, starts) is not None


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(1e-3, 0.01), st.integers(-9_000, 9_000)), min_size=2, max_size=2), st.integers(32, 36)
)
def test_two_channels_begin_with_the_same(channels: list[tuple[float, int]], shift: int) -> None:
    """Their sums come by unlike factors, as those of two channels whose weights share a word."""
    pair = [
        (rescaling(real, -128), (bias - 20_000, bias + 20_000, bias), factor)
        for (real, bias), factor in zip(channels, (1, 256), strict=True)
    ]
    found = check_uppers(pair, shift, 1 << 20)
    assert shift < 36 or found is not None


def test_the_first_start_that_does_for_both_channels_is_taken() -> None:
    pair = [(rescaling(0.0117, -128), (-300, 300, 50), 1), (rescaling(0.0203, -128), (-100, 300, 77), 256)]
    alone = [
        [solve_upper([Summed(w, *ends, steps_of(w, *ends[:2]), f)], 36, np.array([start])) for start in range(50)]
        for w, ends, f in pair
    ]
    possible = [start for start, found in enumerate(zip(*alone, strict=True)) if None not in found]
    assert 0 < possible[0] < 49
    found = check_uppers(pair, 36, 50)
    assert found is not None and found[0].start == possible[0]
    assert check_uppers(pair, 36, possible[0]) is None


@pytest.mark.parametrize("zero_point", [-128, 0, 50, 100])
def test_small_multipliers_and_large_factors_leave_64_bits(zero_point: int) -> None:
    """What is added, in units of sums as they come; numpy 2 refuses numbers of that size."""
    check_upper(Rescaling((1 << 30) + 1, -13, zero_point), (-5_000, 9_000, 3), 44, 8192, 64)


def test_sums_beyond_32_bits_are_not_used() -> None:
    assert check_upper(rescaling(0.01, -128), (-300_000, 300_000, 0), 36, 8192, 1) is None


@pytest.mark.parametrize("limit", [20, 33, 36, 40, 62])
@pytest.mark.parametrize("reals", [(0.3,), (0.01, 0.5), (1.0,), (3.7, 0.1), (1e-6,), (0.9999999, 1e-3), (2.0**-9,)])
def test_the_largest_shift_leaves_every_multiplier_31_bits(reals: tuple[float, ...], limit: int) -> None:
    rescalings = [rescaling(real) for real in reals]
    shift = largest_shift(rescalings, limit)

    def fits(at: int) -> bool:
        return all(r.multiplier * 2.0 ** (r.shift - 31 + at) < 2**31 for r in rescalings)

    assert shift <= limit and fits(shift)
    assert shift == limit or not fits(shift + 1)


def test_nothing_to_multiply_takes_any_shift_up_to_62() -> None:
    assert largest_shift([], 36) == 31 and largest_shift([], 20) == 20
    assert largest_shift([Rescaling(0, 0, 0)], 36) == 36
    assert largest_shift([Rescaling(0, 0, 0)], 99) == 62
    assert largest_shift([Rescaling(1 << 30, -40, 0)], 99) == 62
