"""Power and heat against rates, with a clock that is moved by hand and a machine whose draw follows its rates."""

from __future__ import annotations

import itertools
from fractions import Fraction

from multigraft.runtime.scheduling.budget import RAISE_S, SETTLE_S, Budget
from multigraft.runtime.scheduling.rates import TaskRate
from tests.runtime.scheduling.made_times import Clock, rates

ASKED = rates("person=10,priority=1", "face=4", "pose=8")


def hertz(rates: tuple[TaskRate, ...]) -> dict[str, float]:
    return {rate.task: float(rate.rate_hz) for rate in rates}


def watched(budget: Budget, clock: Clock, seconds: int, watts: float | None, celsius: float | None) -> list[str]:
    said = []
    for _ in range(seconds):
        clock.now += 1
        change = budget.look(watts, celsius)
        if change is not None:
            said.append(change.why)
            assert change.rates == budget.rates
    return said


def test_the_lowest_priority_is_lowered_first_in_steps_and_the_fastest_of_it_before_others() -> None:
    clock = Clock()
    budget = Budget(ASKED, most_w=4.0, clock=clock)
    assert [(task, str(factor)) for task, factor in budget.steps] == [
        ("pose", "1/2"), ("pose", "1/4"), ("face", "1/2"), ("face", "1/4"), ("person", "1/2"), ("person", "1/4"),
    ]  # fmt: skip
    said = watched(budget, clock, 300, 5.0, None)
    assert len(said) == 6
    assert said[0] == "5 W where 4 W may be: the rate of pose was lowered, now person=10,face=4,pose=4"
    assert hertz(budget.rates) == {"person": 2.5, "face": 1.0, "pose": 2.0}


def test_one_high_reading_changes_nothing_and_a_step_is_given_time_to_show() -> None:
    clock = Clock()
    budget = Budget(ASKED, most_w=4.0, clock=clock)
    watched(budget, clock, 20, 3.5, None)
    assert watched(budget, clock, 1, 5.0, None) == []
    assert watched(budget, clock, 20, 3.5, None) == []
    assert len(watched(budget, clock, int(SETTLE_S), 6.0, None)) == 1
    assert len(watched(budget, clock, int(SETTLE_S), 6.0, None)) == 1


def test_rates_are_raised_again_in_the_opposite_order_once_all_is_well_for_long() -> None:
    clock = Clock()
    budget = Budget(ASKED, most_c=75.0, clock=clock)
    watched(budget, clock, int(2.5 * SETTLE_S), None, 80.0)
    assert budget.level == 3
    assert watched(budget, clock, 500, None, 72.0) == [], "below the limit, but not by enough"
    assert watched(budget, clock, int(RAISE_S), None, 69.0) == []
    raised = watched(budget, clock, 200, None, 69.0)
    assert [sentence.split(",", 1)[0] for sentence in raised] == [
        "there is room again: the rate of face was raised",
        "there is room again: the rate of pose was raised",
        "there is room again: the rate of pose was raised",
    ]
    assert budget.rates == ASKED


def test_rates_do_not_swing_where_a_step_makes_the_difference() -> None:
    """At the asked rates it draws too much, and one step lower it is well below: each raise is one too many."""
    clock = Clock()
    budget = Budget(ASKED, most_w=4.0, clock=clock)
    changes = []
    for _ in range(3600):
        clock.now += 1
        change = budget.look(5.0 if budget.level == 0 else 3.0, None)
        if change is not None:
            changes.append(clock.now)
    raises = changes[1::2]
    assert len(changes) <= 14
    gaps = [later - earlier for earlier, later in itertools.pairwise(raises)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(gaps))


def test_what_is_not_known_lowers_and_raises_nothing() -> None:
    clock = Clock()
    budget = Budget(ASKED, most_w=4.0, most_c=75.0, clock=clock)
    watched(budget, clock, 10, 6.0, 60.0)
    assert budget.level == 1
    assert watched(budget, clock, 1000, None, None) == []
    assert budget.level == 1
    assert budget.rates[2].rate_hz == Fraction(4)
