"""Thresholds keep their promise on frames to come, as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.agreement.binomial import lower_bound
from multigraft.exits.blocks import Bools
from multigraft.exits.policy import PromiseKind
from multigraft.exits.thresholds import Asked, choose_threshold, expected_rate, frames_told, sequence_of
from multigraft.tensors.arrays import Float64Array

KINDS: tuple[PromiseKind, ...] = ("selective", "marginal")
RUNS = 200


def population(seed: int, frames: int = 400_000) -> tuple[Float64Array, Bools]:
    """Sureness, and agreement that grows with it; of all frames 1.3 % disagree, of the surer half 0.2 %."""
    random = np.random.default_rng(seed)
    sure = random.random(frames)
    return sure, random.random(frames) > 0.05 * (1 - sure) ** 3 + 0.0003


@pytest.mark.parametrize("kind", KINDS)
def test_the_promise_is_kept_in_at_least_95_of_100_runs(kind: PromiseKind) -> None:
    sure, agrees = population(1)
    asked = Asked(kind, 0.01, 0.95)
    random = np.random.default_rng(2)
    kept = found = 0
    for _ in range(RUNS):
        drawn = random.integers(0, len(sure), 4000)
        fits, tests = drawn[:1000], drawn[1000:]
        chosen = choose_threshold(sure[tests], agrees[tests], asked, sequence_of(sure[fits], asked, len(tests)))
        if chosen is None:
            kept += 1
            continue
        found += 1
        exits = sure >= chosen.sureness
        wrong = (exits & ~agrees).sum() / (exits.sum() if kind == "selective" else len(sure))
        kept += wrong <= 0.01
    assert kept >= 0.95 * RUNS
    assert found >= 0.8 * RUNS


def test_a_threshold_below_which_all_disagree_is_never_passed() -> None:
    sure = np.linspace(0, 1, 4000)
    agrees = sure > 0.5
    asked = Asked("selective", 0.01, 0.95)
    chosen = choose_threshold(sure, agrees, asked, sequence_of(sure, asked, len(sure)))
    assert chosen is not None
    assert 0.48 < chosen.sureness < 0.75
    assert chosen.disagreed <= 0.01 * chosen.taken


def test_299_frames_without_an_error_are_the_least_for_1_percent_at_95() -> None:
    asked = Asked("selective", 0.01, 0.95)
    assert asked.least_frames == 299
    assert frames_told(asked, (0.5,)) == "299 frames that exit and all agree are the least: 598 where 50 % exit"
    for frames, is_found in ((299, True), (298, False)):
        sure, agrees = np.ones(frames), np.ones(frames, bool)
        assert (choose_threshold(sure, agrees, asked, sequence_of(sure, asked, frames)) is not None) is is_found


def test_several_exits_share_risk_and_a_marginal_promise() -> None:
    for kind, share in (("selective", 0.01), ("marginal", 0.005)):
        each = Asked("marginal" if kind == "marginal" else "selective", 0.01, 0.95).split(2)
        assert (each.kind, each.max_disagreement) == (kind, share)
        assert each.confidence == pytest.approx(0.975)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 1500), share=st.floats(0.005, 0.3))
def test_what_is_found_passes_the_exact_bound(kind: PromiseKind, seed: int, frames: int, share: float) -> None:
    random = np.random.default_rng(seed)
    sure, asked = random.random(frames), Asked(kind, share, 0.9)
    agrees = random.random(frames) < 0.7 + 0.3 * sure
    chosen = choose_threshold(sure, agrees, asked, sequence_of(random.random(200), asked, frames))
    if chosen is None:
        return
    exits = sure >= chosen.sureness
    assert (chosen.taken, chosen.disagreed) == (exits.sum(), (exits & ~agrees).sum())
    trials = chosen.taken if kind == "selective" else frames
    assert lower_bound(trials - chosen.disagreed, trials, 0.9) >= 1 - share - 1e-9


def test_more_frames_are_expected_to_show_more_exits() -> None:
    sure, agrees = population(3, 2000)
    rates = [expected_rate(sure, agrees, Asked("selective", 0.01, 0.95), frames) for frames in (200, 3000, 10_000)]
    assert rates[0] == 0
    assert 0 < rates[1] <= rates[2]


def test_a_marginal_promise_of_two_exits_is_kept_and_gives_nothing_away() -> None:
    random = np.random.default_rng(5)
    size, asked = 400_000, Asked("marginal", 0.01, 0.95)
    sures = [random.random(size) for _ in range(2)]
    right = [random.random(size) > wrong * (1 - sure) ** 3 for sure, wrong in zip(sures, (0.08, 0.03), strict=True)]
    share, kept, rates = asked.split(2), 0, []
    for _ in range(RUNS):
        fits, tests = random.integers(0, size, 1000), random.integers(0, size, 6000)
        left_fits, left, gone = np.zeros(len(fits), bool), np.zeros(len(tests), bool), np.zeros(size, bool)
        wrong = np.zeros(size, bool)
        for number, (sure, agrees) in enumerate(zip(sures, right, strict=True)):
            mine = tests[number::2]
            reach = mine[~left[number::2]]
            sequence = sequence_of(sure[fits[~left_fits]], share, len(mine))
            found = choose_threshold(sure[reach], agrees[reach], share, sequence, len(mine))
            if found is not None:
                taken = ~gone & (sure >= found.sureness)
                gone, wrong = gone | taken, wrong | (taken & ~agrees)
                left |= sure[tests] >= found.sureness
                left_fits |= sure[fits] >= found.sureness
        kept += wrong.mean() <= asked.max_disagreement
        rates.append(gone.mean())
    assert kept >= 0.95 * RUNS
    # With all frames known, all of them might leave.
    assert np.mean(rates) > 0.9


def test_errors_that_come_in_runs_do_not_fool_blocks() -> None:
    """Scenes of 10 frames are sure and wrong together; wrong are half of (1 - sure)^2, so a tenth from 0.225 on."""
    asked, broken, found = Asked("selective", 0.1, 0.95), {1: 0, 20: 0}, {1: 0, 20: 0}
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        scenes = random.random(500)
        agrees = np.repeat(random.random(500) > (1 - scenes) ** 2 / 2, 10)
        sure = np.repeat(scenes, 10) + 1e-6 * random.random(5000)
        for block in broken:
            chosen = choose_threshold(
                sure[1000:], agrees[1000:], asked, sequence_of(sure[:1000], asked, 4000, block), block=block
            )
            found[block] += chosen is not None
            broken[block] += chosen is not None and (1 - chosen.sureness) ** 2 / 6 > 0.1
    assert found[20] > 0.8 * RUNS
    assert broken[20] <= 0.05 * RUNS < broken[1]
