"""Weights in few bits: nearer to what they gave than rounding to the nearest, and exact where that is possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.low_bit.rounding import Levels, round_weights
from multigraft.tensors.arrays import Float64Array


def correlated(inputs: int, seed: int) -> Float64Array:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((4 * inputs, max(1, inputs // 4))) @ rng.standard_normal((max(1, inputs // 4), inputs))
    rows += 0.1 * rng.standard_normal(rows.shape)
    return np.asarray(rows.T @ rows / len(rows), np.float64)


def error(weights: Float64Array, rounded: Float64Array, covariance: Float64Array) -> float:
    off = weights - rounded
    return float(((off @ covariance) * off).sum() / ((weights @ covariance) * weights).sum())


@pytest.mark.parametrize("bits", [2, 4])
def test_columns_make_up_for_each_others_error(bits: int) -> None:
    weights, covariance = np.random.default_rng(1).standard_normal((16, 200)), correlated(200, 2)
    rounded = round_weights(weights, covariance, Levels.of(bits), np.ones(16))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert low <= rounded.integers.min() and rounded.integers.max() <= high
    best = min(
        error(weights, np.rint(weights / step).clip(low, high) * step, covariance)
        for step in np.abs(weights).max(1, keepdims=True) * np.linspace(0.1, 1, 30)[:, None, None]
    )
    assert error(weights, rounded.weights, covariance) < best / 3


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 6), st.sampled_from([2, 4]), st.integers(0, 1000))
def test_weights_that_few_bits_hold_stay_what_they_are(inputs: int, outputs: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    integers = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (outputs, inputs))
    integers[:, 0] = -(2 ** (bits - 1))  # so that the whole range is in use
    weights = integers * rng.uniform(0.1, 2, (outputs, 1))
    rounded = round_weights(weights, np.eye(inputs), Levels.of(bits), np.ones(outputs))
    assert error(weights, rounded.weights, np.eye(inputs)) < 1e-3


def test_dead_outputs_and_inputs_that_stand_still_are_no_obstacle() -> None:
    weights, covariance = np.random.default_rng(0).standard_normal((4, 9)), np.zeros((9, 9))
    covariance[:3, :3] = correlated(3, 0)
    weights[1] = 0
    rounded = round_weights(weights, covariance, Levels.of(2), np.full(4, 0.5))
    assert np.isfinite(rounded.weights).all() and (rounded.scales > 0).all()
    assert not rounded.integers[1].any() and rounded.scales[1] == 0.5
