"""The ridge regression from sums: equal to the one from rows, mergeable, and blind to what a clamp hides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.refit.ridge import MAX_SCALE, RidgeSums, Solution, fit_rows, variance_restored

Array = npt.NDArray[np.float64]


def problem(seed: int, groups: int = 2, rows: int = 300) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, rows, 5)) + 1.5
    weight = rng.normal(size=(groups, 5, 3))
    return x, x @ weight + 0.7, weight


def sums_of(x: Array, y: Array) -> RidgeSums:
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

    def visible_error(solution: object) -> float:
        return float(np.mean((np.maximum(solution.predict(x), 0) - wanted) ** 2))  # type: ignore[attr-defined]

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
    shares = np.array([2.0, 1.0, 4.0, 0.5, 0.1, 2.0 + 1e-9, 0.0])
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
