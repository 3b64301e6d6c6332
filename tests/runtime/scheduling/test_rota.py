"""Who is due, who comes next, and what counts as missed, with a clock that is moved by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.scheduling.timetable import Timetable
from tests.runtime.scheduling.made_times import Clock, rates, times

HERTZ = st.fractions(Fraction(1, 10), 120, max_denominator=20)


@settings(deadline=None, max_examples=50)
@given(st.lists(HERTZ, min_size=1, max_size=5))
def test_each_task_has_its_rate_exactly_and_is_due_only_when_the_fastest_is(hertz: list[Fraction]) -> None:
    table = Timetable([TaskRate(str(n), hz) for n, hz in enumerate(hertz)])
    fastest = hertz.index(max(hertz))
    ticks = min(table.hyperperiod, 600)
    due = [table.due(tick) for tick in range(ticks)]
    assert all(str(fastest) in names for names in due)
    for number, hz in enumerate(hertz):
        at = [tick for tick, names in enumerate(due) if str(number) in names]
        for count, tick in enumerate(at):
            wanted = count / hz * max(hertz)
            assert 0 <= tick - wanted < 1
    if ticks == table.hyperperiod:
        assert table.due(ticks) == table.due(0) == [str(n) for n in range(len(hertz))]


@settings(deadline=None, max_examples=50)
@given(st.lists(HERTZ, min_size=1, max_size=4), st.integers(0, 200))
def test_a_deadline_never_lies_behind_the_next_time_a_task_is_due(hertz: list[Fraction], tick: int) -> None:
    table = Timetable([TaskRate(str(n), hz) for n, hz in enumerate(hertz)])
    for task in table.due(tick):
        again = next(later for later in range(tick + 1, tick + 2000) if task in table.due(later))
        assert table.deadline_s(task, tick) == (again - tick) * table.period_s


def played(rota: Rota, clock: Clock, taken: Times, until_s: float) -> list[tuple[str, float]]:
    """Every task in the order of answering, with milliseconds of its end."""
    ends = []
    while clock.now < until_s:
        clock.now += rota.wait_s()
        rota.begin()
        while (task := rota.next()) is not None:
            clock.now += taken.bound_s(task, rota.ran)
            rota.done(task)
            ends.append((task, round(clock.now * 1000, 3)))
            if rota.is_due:
                break
    return ends


def test_what_tasks_share_runs_once_a_frame() -> None:
    clock, taken = Clock(), times(10, {"person": 5, "face": 7})
    rota = Rota(rates("person=10", "face=5"), taken.bound_s, clock)
    ends = played(rota, clock, taken, 0.15)
    assert ends == [("person", 15.0), ("face", 22.0), ("person", 115.0), ("person", 215.0), ("face", 222.0)]


def test_the_earliest_deadline_comes_first() -> None:
    clock, taken = Clock(), times(10, {"slow": 5, "urgent": 5})
    rota = Rota(rates("slow=10", "urgent=10,deadline=30ms"), taken.bound_s, clock)
    assert played(rota, clock, taken, 0.05)[:2] == [("urgent", 15.0), ("slow", 20.0)]


@pytest.mark.parametrize(("is_looking_ahead", "late"), [(True, 0), (False, 3)])
def test_a_long_task_is_held_back_where_it_would_make_the_next_frame_late(is_looking_ahead: bool, late: int) -> None:
    """At 35 ms of 100 it would begin and last until 145; person is due at 100 with 40 ms, so it waits until 105."""
    clock, taken = Clock(), times(1, {"person": 4, "long": 110, "other": 30})
    asked = rates("person=10,deadline=40ms", "other=5", "long=2")
    rota = Rota(asked, taken.bound_s, clock, is_looking_ahead)
    played(rota, clock, taken, 2.95)
    assert rota.missed.total() == rota.missed["person"] == late
    assert rota.met["long"] >= 6


def test_a_task_of_lower_priority_never_makes_one_of_higher_priority_late() -> None:
    clock, taken = Clock(), times(1, {"person": 9, "big": 195})
    played(rota := Rota(rates("person=10,priority=1", "big=1"), taken.bound_s, clock), clock, taken, 5.0)
    assert rota.missed["person"] == 0 and rota.met["person"] >= 50
    assert rota.met["big"] == 0 and rota.missed["big"] >= 4
    clock.now = 0.0
    played(rota := Rota(rates("person=10", "big=1,priority=1"), taken.bound_s, clock), clock, taken, 5.0)
    assert rota.missed["big"] == 0 and rota.missed["person"] > 0


def test_a_machine_that_is_too_slow_still_answers_the_newest_frames_and_counts_the_rest() -> None:
    clock, taken = Clock(), times(40, {"person": 10})
    rota = Rota(rates("person=30"), taken.bound_s, clock)
    ends = played(rota, clock, taken, 10.0)
    assert 195 <= len(ends) <= 201, "as many as there is time for"
    assert rota.met.total() == 0 and 298 <= rota.missed.total() <= 302


def test_waiting_for_the_camera_is_no_miss() -> None:
    clock, taken = Clock(), times(5, {"person": 5})
    rota = Rota(rates("person=10"), taken.bound_s, clock)
    for _ in range(20):
        clock.now += rota.wait_s()
        rota.wait_s()
        clock.now += 0.3
        rota.begin()
        assert rota.next() == "person"
        clock.now += 0.01
        assert rota.done("person")
    assert rota.missed.total() == 0


def test_being_busy_when_a_frame_is_due_is_a_miss() -> None:
    clock = Clock()
    rota = Rota(rates("person=10"), lambda task, after: 0.01, clock)
    rota.wait_s()
    rota.begin()
    rota.next()
    clock.now += 0.35
    assert not rota.done("person")
    assert rota.wait_s() == 0
    rota.begin()
    assert rota.missed["person"] == 3, "the one that took so long, and two that came meanwhile"
    assert rota.next() == "person"
    clock.now += 0.01
    assert rota.done("person")


def test_other_rates_take_effect_with_the_next_frame() -> None:
    clock, taken = Clock(), times(1, {"a": 1, "b": 1})
    rota = Rota(rates("a=10", "b=10"), taken.bound_s, clock)
    played(rota, clock, taken, 1.0)
    before = dict(rota.met)
    rota.change(rates("a=10", "b=2"))
    played(rota, clock, taken, 2.0)
    assert rota.met["a"] - before["a"] == 10 and rota.met["b"] - before["b"] == 2
    assert rota.missed.total() == 0
    assert [str(rate) for rate in rota.rates] == ["a=10", "b=2"]
