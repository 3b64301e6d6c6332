"""Weights as sums of signs."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.one_bit.bases import bases_of
from multigraft.tensors.arrays import Float64Array


def correlated(inputs: int) -> Float64Array:
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((500, 8)) @ rng.standard_normal((8, inputs))
    rows = np.sign(shared + rng.standard_normal((500, inputs)))
    return np.asarray(rows.T @ rows / 500, np.float64)


def error(weights: Float64Array, other: Float64Array, covariance: Float64Array) -> float:
    off = weights - other
    return float(((off @ covariance) * off).sum())


@pytest.mark.parametrize("count", [1, 2])
def test_what_signs_hold_is_found(count: int) -> None:
    rng = np.random.default_rng(0)
    signs, factors = rng.choice([-1, 1], (count, 6, 30)), rng.uniform(0.5, 2, (1, 6)) * [[1.0], [0.45]][:count]
    weights = (factors[:, :, None] * signs).sum(0)
    bases = bases_of(weights, np.eye(30), count)
    assert bases.signs.shape == (count, 6, 30) and set(np.unique(bases.signs)) == {-1, 1}
    assert np.allclose(bases.weights, weights, atol=1e-6)


def test_signs_are_chosen_for_the_rows_and_two_bases_are_nearer_than_one() -> None:
    weights, covariance = np.random.default_rng(2).standard_normal((12, 90)), correlated(90)
    plain = np.sign(weights) * np.abs(weights).mean(1, keepdims=True)
    one, two = (bases_of(weights, covariance, count) for count in (1, 2))
    assert error(weights, one.weights, covariance) < 0.6 * error(weights, plain, covariance)
    assert two.error.sum() < 0.5 * one.error.sum()
    each = [error(weights[[i]], two.weights[[i]], covariance) for i in range(12)]
    assert np.allclose(two.error, each)


def test_an_output_without_weights_stays_without() -> None:
    weights = np.random.default_rng(0).standard_normal((3, 9))
    weights[1] = 0
    for count in (1, 2):
        assert np.abs(bases_of(weights, np.eye(9), count).weights[1]).max() < 1e-9
