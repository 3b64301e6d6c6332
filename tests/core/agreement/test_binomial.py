"""The device's exact bound equals the workstation's, which scipy computes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv

from multigraft.agreement.binomial import frames_needed, lower_bound, tail


def inverse_beta(successes: float, trials: int, risk: float) -> float:
    """Clopper-Pearson's lower bound as the quantile of a beta distribution."""
    return float(betaincinv(successes, trials - successes + 1, risk)) if successes > 0 else 0.0


CONFIDENCES = st.sampled_from((0.5, 0.8, 0.9, 0.95, 0.99, 0.999))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 3000), CONFIDENCES)
def test_the_bound_equals_the_inverse_beta_function(data: st.DataObject, trials: int, confidence: float) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = inverse_beta(successes, trials, 1 - confidence)
    assert lower_bound(successes, trials, confidence) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 400), CONFIDENCES)
def test_at_the_bound_the_tail_is_the_risk(data: st.DataObject, trials: int, confidence: float) -> None:
    successes = data.draw(st.integers(1, trials))
    bound = lower_bound(successes, trials, confidence)
    assert tail(successes, trials, bound) == pytest.approx(1 - confidence, rel=1e-6)


def test_many_trials_keep_their_digits() -> None:
    expected = inverse_beta(98_000, 100_000, 0.05)
    assert lower_bound(98_000, 100_000, 0.95) == pytest.approx(expected, rel=1e-8)


def test_at_least_none_is_certain() -> None:
    for trials in range(1, 60):
        for percent in range(1, 100, 7):
            assert tail(0, trials, percent / 100) == 1.0


def test_a_probability_is_never_above_one() -> None:
    assert max(tail(1, trials, p) for trials in range(50, 400, 7) for p in (0.2, 0.5, 0.9)) <= 1.0


def test_if_all_succeed_the_bound_is_a_root() -> None:
    for trials in range(1, 50):
        assert lower_bound(trials, trials, 0.95) == (1 - 0.95) ** (1 / trials)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(0.01, 0.999), CONFIDENCES)
def test_frames_needed_can_show_it_and_one_fewer_can_not(minimum: float, confidence: float) -> None:
    frames = frames_needed(minimum, confidence)
    assert lower_bound(frames, frames, confidence) >= minimum
    assert frames == 1 or lower_bound(frames - 1, frames - 1, confidence) < minimum


def test_the_ends() -> None:
    assert lower_bound(0, 10, 0.95) == 0.0
    assert lower_bound(10, 10, 0.95) == pytest.approx(0.05**0.1)
    assert tail(0, 5, 0.3) == 1.0 and tail(6, 5, 0.3) == 0.0 and tail(2, 5, 0.0) == 0.0 and tail(2, 5, 1.0) == 1.0
