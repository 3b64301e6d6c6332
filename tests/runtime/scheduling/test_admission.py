"""What admission says, held against every schedule there is and against what then happens."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.runtime.scheduling.admission import MOST_MISSED, admit, admit_of_cameras, play
from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import Times, upper_bound
from tests.runtime.scheduling import every_schedule
from tests.runtime.scheduling.made_times import Clock, rates, times

SETS = 200
RATIOS = tuple(map(Fraction, ("1", "1/2", "1/3", "2/3", "1/4")))
MILLISECONDS = st.integers(1, 40)


def drawn(numbers: random.Random, heads: str, taken: Times, priorities: int = 1) -> tuple[TaskRate, ...]:
    """Rates that ask for 0.3 to 1.1 of the time there is, half of them with a deadline before they are due again."""
    ratios = [Fraction(1), *numbers.choices(RATIOS, k=len(heads) - 1)]
    asked = sum(
        float(ratio) * float(np.mean(taken.seconds(task, frozenset(heads[:place]))))
        for place, (task, ratio) in enumerate(zip(heads, ratios, strict=True))
    )
    fastest = Fraction(f"{numbers.uniform(0.3, 1.1) / asked:.2g}")
    made = []
    for task, ratio in zip(heads, ratios, strict=True):
        part = numbers.choice((None, 0.5, 0.7, 0.9))
        deadline_s = None if part is None else part * float(1 / (ratio * fastest))
        made.append(TaskRate(task, ratio * fastest, numbers.randrange(priorities), deadline_s))
    return tuple(made)


def test_sets_that_are_refused_have_no_schedule_at_all_and_those_admitted_miss_nothing() -> None:
    """Times that never vary, and equal priorities: every order and every pause is tried."""
    numbers = random.Random(3)
    admitted = refused = 0
    for _ in range(SETS):
        heads = numbers.choice(("ab", "abc"))
        taken = times(numbers.randrange(1, 20), {task: numbers.randrange(1, 40) for task in heads})
        asked = drawn(numbers, heads, taken)
        misses_nothing = max(play(asked, taken, 400).missed.values()) == 0
        assert misses_nothing == every_schedule.exists(asked, taken), asked
        admitted, refused = admitted + misses_nothing, refused + (not misses_nothing)
    assert admitted > 50 and refused > 50


def jittered(numbers: np.random.Generator, heads: str, means_ms: list[float], rounds: int) -> Times:
    """Times as measured ones are: 3 % of scatter, and one in two hundred takes 1.5 times as long."""
    parts = {task: ["trunk", task] for task in heads}
    rows = {}
    for part, mean in zip(("trunk", *heads), means_ms, strict=True):
        scatter = numbers.lognormal(0.0, 0.03, rounds) * np.where(numbers.random(rounds) < 0.005, 1.5, 1.0)
        rows[part] = (mean / 1000 * scatter).tolist()
    return Times(parts, rows)


def ran(asked: tuple[TaskRate, ...], bound: Times, real: Times, jobs: int) -> tuple[float, float]:
    """The part of deadlines that is missed where things take what ``real`` says and ``bound`` was measured: of all, and
    of the worst task's."""
    clock = Clock()
    rota = Rota(asked, bound.bound_s, clock)
    turn = 0
    while rota.met.total() + rota.missed.total() < jobs:
        clock.now += rota.wait_s()
        rota.begin()
        turn += 1
        while (task := rota.next()) is not None:
            clock.now += real.seconds(task, rota.ran)[turn % real.rounds]
            rota.done(task)
            if rota.is_due:
                break
    worst = max(rota.missed[r.task] / (rota.missed[r.task] + rota.met[r.task]) for r in asked)
    return rota.missed.total() / (rota.met.total() + rota.missed.total()), worst


def test_what_was_measured_tells_what_happens_afterwards() -> None:
    """300 measured rounds, then 1,000 deadlines of other rounds on the same made-up machine."""
    numbers, noise = random.Random(4), np.random.default_rng(4)
    admitted, refused = [], []
    for _ in range(SETS):
        heads = numbers.choice(("a", "ab", "abc", "abcd"))
        means = [numbers.uniform(1, 20) for _ in range(len(heads) + 1)]
        measured = jittered(noise, heads, means, 300)
        asked = drawn(numbers, heads, measured, 3)
        missed, worst = ran(asked, measured, jittered(noise, heads, means, 2000), 1000)
        if play(asked, measured, 1000).fits:
            admitted.append(missed)
        else:
            refused.append(worst)
    assert len(admitted) > 40 and len(refused) > 40
    # A set whose misses are about the limit may fall to either side: 300 rounds say no more.
    assert sum(missed >= MOST_MISSED for missed in admitted) <= 0.02 * SETS
    assert sum(missed < MOST_MISSED for missed in refused) <= 0.05 * SETS
    assert max(admitted) < 3 * MOST_MISSED


@settings(deadline=None, max_examples=60)
@given(MILLISECONDS, st.lists(MILLISECONDS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_rates_that_are_proposed_fit_and_are_no_higher_than_those_asked_for(
    trunk: int, heads: list[int], numbers: random.Random
) -> None:
    names = "abc"[: len(heads)]
    taken = times(trunk, dict(zip(names, heads, strict=True)), 20)
    asked = drawn(numbers, names, taken, 2)
    verdict = admit(asked, taken)
    assert verdict.fits == (verdict.fitting is None and "does not fit" not in verdict.sentence())
    if verdict.fitting is not None:
        assert play(verdict.fitting, taken).fits
        assert all(now.rate_hz <= then.rate_hz for now, then in zip(verdict.fitting, asked, strict=True))


def test_the_sentence_names_what_does_not_fit_and_what_would() -> None:
    taken = times(10, {"person": 5, "face": 30}, 300)
    verdict = admit(rates("person=30,priority=1", "face=20"), taken)
    assert not verdict.fits
    assert verdict.sentence().startswith("person=30,face=20 does not fit: face would miss 75% of its deadlines (300")
    assert "person=30" in verdict.remedy(), "only the lower priority is lowered where that is enough"
    fits = admit(rates("person=10", "face=2"), taken)
    assert fits.fits and fits.sentence().startswith("person=10,face=2 fits: 21% busy, 0.0% of deadlines missed")


def test_a_deadline_that_a_task_cannot_meet_alone_is_named() -> None:
    verdict = admit(rates("face=1,deadline=30ms"), times(10, {"face": 30}, 300))
    assert "face alone takes up to 40 ms, and has 30 ms" in verdict.sentence()
    assert verdict.remedy() == "give a longer deadline, a smaller network or a faster machine"


def test_what_a_machine_that_is_one_percent_slower_would_miss_is_refused() -> None:
    taken = times(5, {"person": 5}, 300)
    assert admit(rates("person=99"), taken).fits
    refused = admit(rates("person=99.5"), taken)
    assert play(rates("person=99.5"), taken).fits and not refused.fits
    assert refused.fitting is not None and admit(refused.fitting, taken).fits


def test_a_camera_that_is_too_slow_is_named() -> None:
    taken = times(5, {"person": 5}, 300)
    verdict = admit_of_cameras(rates("person=30"), taken, {"person": 15.0})
    assert not verdict.fits
    assert "the camera gives 15 frames a second, and person asks for 30" in verdict.sentence()
    assert verdict.remedy() == "person=15 would fit"
    assert admit_of_cameras(rates("person=30"), taken, {"person": 29.5}).fits
    assert admit_of_cameras(rates("person=30"), taken, {}).fits


@pytest.mark.parametrize(("rounds", "place"), [(299, 299), (473, 472), (1000, 996)])
def test_the_bound_of_a_quantile_is_the_tabled_one(rounds: int, place: int) -> None:
    """95 % confidence for the 99th percentile: known from Wilks' sample sizes 299 and 473."""
    assert upper_bound([float(n) for n in range(1, rounds + 1)]) == place
    assert upper_bound([float(n) for n in range(1, 51)]) == 50


def test_too_few_rounds_say_with_less_confidence() -> None:
    few = times(1, {"a": 1}, 20)
    assert few.confidence == pytest.approx(1 - 0.99**20)
    assert times(1, {"a": 1}, 300).confidence == 0.95
