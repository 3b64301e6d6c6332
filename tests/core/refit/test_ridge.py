"""The ridge regression from sums: equal to the one from rows, mergeable, and blind to what a clamp hides."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.refit.ridge import (
    CLAMP_ROUNDS,
    MAX_SCALE,
    STRENGTHS,
    RidgeSums,
    Solution,
    fit,
    fit_rows,
    variance_restored,
)

Array = npt.NDArray[np.float64]


def problem(seed: int, groups: int = 2, rows: int = 300) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, rows, 5)) + 1.5
    weight = rng.normal(size=(groups, 5, 3))
    return x, x @ weight + 0.7, weight


def sums_of(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> RidgeSums:
    sums = RidgeSums.empty(x.shape[0], x.shape[2], y.shape[2])
    sums.add(x, y)
    return sums


def test_exact_data_is_recovered() -> None:
    x, y, truth = problem(0)
    weight, intercept = sums_of(x, y).solve(np.zeros_like(truth), 1e-12)
    np.testing.assert_allclose(weight, truth, atol=1e-5)
    np.testing.assert_allclose(intercept, 0.7, atol=1e-5)


def test_strong_ridge_returns_the_prior() -> None:
    x, y, truth = problem(1)
    prior = truth + 1.0
    weight, _ = sums_of(x, y).solve(prior, 1e9)
    np.testing.assert_allclose(weight, prior, atol=1e-5)


def test_parts_add_up_to_the_whole() -> None:
    x, y, truth = problem(2)
    whole = sums_of(x, y)
    parts = sums_of(x[:, :100], y[:, :100]) + sums_of(x[:, 100:], y[:, 100:])
    for a, b in zip(whole.solve(truth * 0, 0.1), parts.solve(truth * 0, 0.1), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_error_from_sums_equals_error_from_rows() -> None:
    rng = np.random.default_rng(3)
    x, y, _ = problem(3)
    y = y + rng.normal(size=y.shape)
    sums = sums_of(x, y)
    weight, intercept = sums.solve(np.zeros((2, 5, 3)), 0.01)
    direct = np.sum((x @ weight + intercept[:, None] - y) ** 2)
    assert sums.error(weight, intercept) == pytest.approx(direct, rel=1e-8)


def test_errors_that_a_relu_hides_are_not_fitted() -> None:
    """y is linear where positive and arbitrary where negative: only a fit that ignores the negative part is exact."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1, 4000, 4))
    linear = x @ rng.normal(size=(1, 4, 2))
    y = np.where(linear > 0, linear, -5.0 * np.abs(rng.normal(size=linear.shape)))
    held_out = np.arange(4000) % 5 == 0
    plain = fit_rows(x, y, held_out, np.zeros((1, 4, 2)))
    aware = fit_rows(x, y, held_out, np.zeros((1, 4, 2)), (0.0, np.inf))
    wanted = np.maximum(y, 0)

    def visible_error(solution: Solution) -> float:
        return float(np.mean((np.maximum(solution.predict(x), 0) - wanted) ** 2))

    assert visible_error(aware) < 0.5 * visible_error(plain)


def test_noise_beyond_the_data_makes_the_ridge_strong() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1, 60, 40))
    y = rng.normal(size=(1, 60, 1))
    solution = fit_rows(x, y, np.arange(60) % 5 == 0, np.zeros((1, 40, 1)))
    assert solution.strength >= 0.1


def restored(factor: Array, intercept: Array, y: Array) -> tuple[Solution, RidgeSums]:
    """A layer of one input of variance 1 and mean 2 that predicts ``factor`` times it, and the sums of its targets."""
    x = np.array([1.0, 3, 1, 3])[None, :, None]
    return Solution(factor[None, None], intercept[None], 0.1, 0.2), sums_of(x, y[None])


def test_the_variance_is_restored_per_output_between_no_change_and_the_stated_scale() -> None:
    """Targets of standard deviation 2: predictions of a smaller one are scaled up, of a greater one are left alone."""
    shares = np.array([2.0, 1.0, 4.0, 0.5, 0.1, 2.0 + 1e-9, 0.0], np.float64)
    expected = np.array([1.0, 2.0, 1.0, MAX_SCALE, MAX_SCALE, 1.0, MAX_SCALE])
    y = np.tile(np.array([3.0, 7, 3, 7])[:, None], (1, len(shares)))
    before, sums = restored(shares, 5 - 2 * shares, y)
    after = variance_restored(before, sums)
    np.testing.assert_allclose(after.weight[0, 0], shares * expected, rtol=1e-8)
    # The mean of what is predicted stays: 2 * weight + intercept is the mean of the targets, before and after.
    np.testing.assert_allclose(2 * after.weight[0, 0] + after.intercept[0], 5.0, rtol=1e-8)
    assert (after.strength, after.relative_error) == (0.1, 0.2)
    assert MAX_SCALE == 4.0


def test_an_output_that_never_changes_stays_as_it_was_solved() -> None:
    before, sums = restored(np.array([0.0, 1e-9]), np.array([5.0, 5.0]), np.full((4, 2), 5.0))
    after = variance_restored(before, sums)
    np.testing.assert_array_equal(after.weight, before.weight)
    np.testing.assert_array_equal(after.intercept, before.intercept)


def augmented(x: Array, y: Array, prior: Array, strength: float) -> tuple[Array, Array]:
    """The same minimum by least squares over the rows: centred, with the pull as further rows."""
    weights, intercepts = [], []
    for group in range(len(x)):
        centred, wanted = x[group] - x[group].mean(0), y[group] - y[group].mean(0)
        inputs = x.shape[2]
        pull = np.sqrt(strength * (centred**2).sum() / inputs + 1e-9 * x.shape[1])
        rows = np.concatenate([centred, pull * np.eye(inputs)])
        weight = np.linalg.lstsq(rows, np.concatenate([wanted, pull * prior[group]]), rcond=None)[0]
        weights.append(weight)
        intercepts.append(y[group].mean(0) - x[group].mean(0) @ weight)
    return np.array(weights), np.array(intercepts)


@pytest.mark.parametrize("strength", [0.0, 1e-3, 0.3, 5.0])
def test_the_solution_is_the_minimum_that_is_promised(strength: float) -> None:
    x, y, truth = problem(6, rows=40)
    y = y + np.random.default_rng(7).normal(size=y.shape)
    prior = truth + 0.5
    weight, intercept = sums_of(x, y).solve(prior, strength)
    expected = augmented(x, y, prior, strength)
    np.testing.assert_allclose(weight, expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(intercept, expected[1], rtol=1e-9, atol=1e-9)


def test_inputs_that_never_change_are_solved_all_the_same() -> None:
    """The part of the pull that does not depend on the inputs keeps the equations solvable: 1e-9 per row."""
    x, y = np.full((1, 50, 2), 3.0), np.arange(100.0).reshape(1, 50, 2)
    prior = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    weight, intercept = sums_of(x, y).solve(prior, 0.1)
    np.testing.assert_allclose(weight, prior, atol=1e-6)
    np.testing.assert_allclose(intercept, y.mean(1) - 3 * prior.sum(1), atol=1e-5)


def test_sums_are_in_double_precision_whatever_the_rows_are() -> None:
    x, y, _ = problem(8)
    single = sums_of(x.astype(np.float32), y.astype(np.float32))
    for array in (single.xx, single.xy, single.yy, single.x, single.y):
        assert array.dtype == np.float64
    large = np.full((1, 3, 1), 4097.0, np.float32)
    sums = sums_of(large, large)
    assert sums.yy[0, 0] == 3 * 4097.0**2 and sums.rows == 3
    sums.retarget(large, large)
    assert sums.yy[0, 0] == 3 * 4097.0**2 and sums.xy.dtype == np.float64
    many = np.full((1, 3, 1), 2.0**24 + 2, np.float32)
    added = sums_of(many, many)
    assert added.x[0, 0] == added.y[0, 0] == 3 * (2.0**24 + 2)
    added.retarget(many, many)
    assert added.y[0, 0] == 3 * (2.0**24 + 2)


def test_adding_twice_counts_twice() -> None:
    x, y, _ = problem(9)
    once, twice = sums_of(x, y), sums_of(x, y)
    twice.add(x, y)
    assert twice.rows == 2 * once.rows == 600
    for name in ("xx", "xy", "yy", "x", "y"):
        np.testing.assert_allclose(getattr(twice, name), 2 * getattr(once, name), rtol=1e-12)


def test_other_targets_take_the_place_of_those_before() -> None:
    x, y, truth = problem(10)
    other = y[..., ::-1] * 2 + 1
    sums = sums_of(x, y)
    sums.retarget(x, other)
    expected = sums_of(x, other)
    for name in ("xx", "xy", "yy", "x", "y", "rows"):
        np.testing.assert_allclose(getattr(sums, name), getattr(expected, name), rtol=1e-12)
    assert sums.error(truth, np.zeros((2, 3))) == pytest.approx(expected.error(truth, np.zeros((2, 3))))


def test_the_spread_is_that_of_predictions_and_targets() -> None:
    x, y, truth = problem(11)
    weight = truth / 3
    predicted, wanted = sums_of(x, y).spread(weight)
    np.testing.assert_allclose(predicted, (x @ weight).std(axis=1), rtol=1e-9)
    np.testing.assert_allclose(wanted, y.std(axis=1), rtol=1e-9)
    # Rounding may leave a variance below 0.
    nothing = sums_of(np.full((1, 3, 1), 0.1), np.full((1, 3, 1), 0.1)).spread(np.ones((1, 1, 1)))
    np.testing.assert_allclose(nothing, 0.0, atol=1e-8)
    below = RidgeSums(np.array([[[0.5]]]), np.zeros((1, 1, 1)), np.array([[0.5]]), np.ones((1, 1)), np.ones((1, 1)), 1)
    assert [float(s[0, 0]) for s in below.spread(np.ones((1, 1, 1)))] == [0.0, 0.0]


def test_the_strength_is_the_one_that_errs_least_on_the_rows_held_out() -> None:
    rng = np.random.default_rng(12)
    for noise in (0.01, 1.0, 3.0, 10.0):
        x = rng.normal(size=(1, 60, 12))
        truth = rng.normal(size=(1, 12, 2))
        y = x @ truth + noise * rng.normal(size=(1, 60, 2))
        held_out = np.arange(60) % 3 == 0
        train, test = sums_of(x[:, ~held_out], y[:, ~held_out]), sums_of(x[:, held_out], y[:, held_out])
        errors = []
        for strength in STRENGTHS:
            weight, intercept = train.solve(truth * 0, strength)
            errors.append(float(((x[:, held_out] @ weight + intercept[:, None] - y[:, held_out]) ** 2).sum()))
        solution = fit_rows(x, y, held_out, truth * 0)
        assert solution.strength == STRENGTHS[int(np.argmin(errors))]
        weight, intercept = sums_of(x, y).solve(truth * 0, solution.strength)
        np.testing.assert_allclose(solution.weight, weight, rtol=1e-9)
        np.testing.assert_allclose(solution.intercept, intercept, rtol=1e-9)
        error = ((x @ weight + intercept[:, None] - y) ** 2).sum() / ((y - y.mean(1, keepdims=True)) ** 2).sum()
        assert solution.relative_error == pytest.approx(error, rel=1e-6)
        chosen, _, best = fit(train, test, truth * 0)
        np.testing.assert_allclose(chosen, weight, rtol=1e-9)
        assert best == solution.strength
    assert STRENGTHS == (1e-4, 1e-3, 1e-2, 1e-1, 1.0) and CLAMP_ROUNDS == 3


def clamped(x: Array, y: Array, held_out: npt.NDArray[np.bool_], low: Array, high: Array) -> tuple[Array, Array]:
    """What fit_rows promises, a value at a time: hidden targets move to the prediction, three times."""
    solution = fit_rows(x, y, held_out, np.zeros((1, x.shape[2], y.shape[2])))
    weight, intercept = solution.weight, solution.intercept
    for _ in range(3):
        goal = y.copy()
        predicted = x @ weight + intercept[:, None]
        for place in np.ndindex(y.shape):
            value, now = y[place], predicted[place]
            if (value <= low[place] and now <= low[place]) or (value >= high[place] and now >= high[place]):
                goal[place] = now
        weight, intercept = sums_of(x, goal).solve(weight * 0, solution.strength)
    return weight, intercept


@pytest.mark.parametrize("bounds", [(0.0, np.inf), (-np.inf, 0.5), (-0.5, 0.5)])
@pytest.mark.parametrize("has_offsets", [True, False])
def test_a_clamp_hides_the_same_values_as_one_by_one(bounds: tuple[float, float], has_offsets: bool) -> None:
    rng = np.random.default_rng(13)
    x = rng.normal(size=(1, 50, 3))
    y = x @ rng.normal(size=(1, 3, 2)) + rng.normal(size=(1, 50, 2))
    held_out = np.arange(50) % 5 == 0
    offsets = rng.normal(size=y.shape) if has_offsets else None
    shift = np.zeros_like(y) if offsets is None else offsets
    solution = fit_rows(x, y, held_out, np.zeros((1, 3, 2)), bounds, offsets)
    weight, intercept = clamped(x, y, held_out, bounds[0] - shift, bounds[1] - shift)
    np.testing.assert_allclose(solution.weight, weight, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(solution.intercept, intercept, rtol=1e-9, atol=1e-12)
    assert solution.strength == fit_rows(x, y, held_out, np.zeros((1, 3, 2))).strength


def test_values_at_a_bound_are_hidden_too() -> None:
    """Targets of a ReLU's output are 0 where it cut: there, predictions below 0 are as good as 0."""
    rng = np.random.default_rng(14)
    x = rng.normal(size=(1, 400, 3))
    linear = x @ rng.normal(size=(1, 3, 1))
    y, held_out = np.maximum(linear, 0.0), np.arange(400) % 5 == 0
    aware, plain = (fit_rows(x, y, held_out, np.zeros((1, 3, 1)), bounds) for bounds in ((0.0, np.inf), None))
    errors = [float(((np.maximum(s.predict(x), 0) - y) ** 2).sum()) for s in (aware, plain)]
    assert errors[0] < 0.5 * errors[1]
    mirrored = fit_rows(x, -y, held_out, np.zeros((1, 3, 1)), (-np.inf, 0.0))
    np.testing.assert_allclose(mirrored.weight, -aware.weight, rtol=1e-9)


def test_exact_data_has_no_error_and_constant_targets_are_no_division_by_zero() -> None:
    x, y, truth = problem(15)
    held_out = np.arange(300) % 5 == 0
    assert 0 <= fit_rows(x, y, held_out, truth).relative_error < 1e-9
    constant = fit_rows(x, np.full_like(y, 2.0), held_out, truth * 0)
    np.testing.assert_allclose(constant.predict(x), 2.0, atol=1e-9)
    assert np.isfinite(constant.relative_error) and constant.relative_error >= 0
    assert fit_rows(x, np.zeros_like(y), held_out, truth).relative_error > 0


def test_predictions_are_in_the_precision_of_the_rows() -> None:
    x, _, truth = problem(16)
    solution = Solution(truth, np.full((2, 3), 0.5), 0.1, 0.0)
    single = solution.predict(x.astype(np.float32))
    assert single.dtype == np.float32 and solution.predict(x).dtype == np.float64
    np.testing.assert_allclose(solution.predict(x), x @ truth + 0.5, rtol=1e-12)
    rows = x.astype(np.float32)
    third = Solution(truth, np.full((2, 3), 1 / 3), 0.1, 0.0).predict(rows)
    np.testing.assert_array_equal(third, rows @ truth.astype(np.float32) + np.float32(1 / 3))


def test_bounds_are_in_the_precision_of_the_rows() -> None:
    """A clip at 0.1 gives 0.1 in single precision, above 0.1 in double: its outputs are hidden all the same."""
    rng = np.random.default_rng(17)
    x = rng.normal(size=(1, 100, 3)).astype(np.float32)
    y = np.maximum(x @ rng.normal(size=(1, 3, 1)).astype(np.float32), np.float32(0.1))
    held_out, prior = np.arange(100) % 5 == 0, np.zeros((1, 3, 1))
    exact, rounded = (fit_rows(x, y, held_out, prior, (low, np.inf)) for low in (float(np.float32(0.1)), 0.1))
    np.testing.assert_array_equal(exact.weight, rounded.weight)
    assert np.abs(exact.weight - fit_rows(x, y, held_out, prior).weight).max() > 0.01
