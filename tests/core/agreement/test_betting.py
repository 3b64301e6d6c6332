"""The bound of scores that agree in part: as often right as it says, and of frames that all agree that of a count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.agreement.betting import is_refuted, lower_bound_of_count, lower_bound_of_mean
from multigraft.agreement.binomial import lower_bound
from multigraft.tensors.arrays import Float64Array

Draw = Callable[[np.random.Generator, int, float], Float64Array]
"""Random numbers, how many scores, their mean."""
SPREADS: dict[str, Draw] = {
    "right or wrong": lambda rng, n, mean: (rng.random(n) < mean).astype(np.float64),
    "one box of five": lambda rng, n, mean: np.where(rng.random(n) < 3 * (1 - mean), 2 / 3, 1.0),
    "rarely nothing": lambda rng, n, mean: np.where(rng.random(n) < (1 - mean) / 0.7, rng.choice([0, 0.6], n), 1.0),
    "pixels": lambda rng, n, mean: rng.beta(50 * mean, 50 * (1 - mean), n),
    "skewed": lambda rng, n, mean: rng.beta(0.3, 0.3 * (1 - mean) / mean, n),
    "unlike frames": lambda rng, n, mean: (
        rng.random(n) < np.clip(mean + np.where(np.arange(n) % 2, 1, -1) * (1 - mean), 0, 1)
    ).astype(np.float64),
}
RUNS = 2000


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("mean", "trials"), [(0.8, 14), (0.9, 60), (0.97, 120)])
def test_the_mean_is_below_the_bound_in_at_most_one_of_twenty(spread: str, mean: float, trials: int) -> None:
    """The bound is above the mean where the mean is refuted, as the first of them shows."""
    rng = np.random.default_rng(trials)
    runs = [SPREADS[spread](rng, trials, mean) for _ in range(RUNS)]
    wrong = [is_refuted(mean, *np.unique(run, return_counts=True), 0.05) for run in runs]
    assert sum(wrong) <= 0.05 * RUNS
    for run, refuted in list(zip(runs, wrong, strict=True))[:20]:
        if abs((bound := lower_bound_of_mean(run, 0.95)) - mean) > 1e-9:
            assert (bound > mean) == refuted


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 2000), st.floats(0.5, 0.999))
def test_frames_that_all_agree_have_the_bound_of_a_count(trials: int, confidence: float) -> None:
    expected = lower_bound(trials, trials, confidence)
    assert lower_bound_of_mean(np.ones(trials), confidence) == expected
    nearly = lower_bound_of_mean(np.full(trials, 1 - 1e-9), confidence)
    assert nearly == pytest.approx(expected, abs=1e-7)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.data(), st.floats(0.5, 0.99))
def test_a_better_score_never_lowers_it_and_the_order_is_nothing(
    scores: list[float], data: st.DataObject, confidence: float
) -> None:
    bound = lower_bound_of_mean(np.array(scores), confidence)
    assert 0 <= bound <= np.mean(scores) + 1e-12
    assert lower_bound_of_mean(np.array(scores[::-1]), confidence) == pytest.approx(bound, abs=1e-9)
    place = data.draw(st.integers(0, len(scores) - 1))
    better = [*scores[:place], data.draw(st.floats(scores[place], 1)), *scores[place + 1 :]]
    assert lower_bound_of_mean(np.array(better), confidence) >= bound - 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.data(), st.floats(0.5, 0.99))
def test_of_scores_of_one_sum_those_of_0_and_1_have_the_lowest(
    frames: int, data: st.DataObject, confidence: float
) -> None:
    right = data.draw(st.integers(0, frames))
    lowest = lower_bound_of_count(right, frames, confidence, True)
    assert lowest <= lower_bound_of_mean(np.full(frames, right / frames), confidence) + 1e-9
    assert lowest <= lower_bound_of_count(right, frames, confidence, False) + 1e-9


def test_scores_that_stray_little_need_fewer_frames() -> None:
    """72 frames of 0.95 each show 0.9, for which a bound that looks at the mean alone takes more than 200."""
    steady = np.full(72, 0.95)
    assert lower_bound_of_mean(steady, 0.95) > 0.9
    assert lower_bound(round(steady.sum()), 72, 0.95) < 0.9
    assert lower_bound_of_count(190, 200, 0.95, True) < 0.9


def test_no_agreement_shows_nothing() -> None:
    assert lower_bound_of_mean(np.zeros(10), 0.95) == 0
    assert lower_bound_of_mean(np.array([0.5]), 0.95) < 0.1
