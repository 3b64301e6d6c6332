"""What users type behind --rate."""

from __future__ import annotations

from fractions import Fraction

import pytest

from multigraft.errors import UsageError
from multigraft.runtime.scheduling.rates import TaskRate, parse_rates, rates_of, spelt


def test_rates_are_understood_as_typed() -> None:
    bare, own = parse_rates(["30", "person=10", "face=2.5,priority=1,deadline=200ms", "door=0.1,deadline=2s"])
    assert bare == 30.0
    assert own == (
        TaskRate("person", Fraction(10)),
        TaskRate("face", Fraction(5, 2), 1, 0.2),
        TaskRate("door", Fraction(1, 10), 0, 2.0),
    )
    assert spelt(own) == "person=10,face=2.5,door=0.1"
    assert parse_rates(["7"]) == (7.0, ())


def test_tasks_without_a_rate_get_that_of_frames() -> None:
    own = (TaskRate("face", Fraction(2), 1),)
    assert rates_of(10.0, own, ("person", "face")) == (TaskRate("person", Fraction(10)), own[0])


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["0"], "--rate is 0"),
        (["-5"], "--rate is -5"),
        (["1e3"], "--rate is 1e3"),
        (["nan"], "--rate is nan"),
        (["20000"], "--rate is 20000"),
        (["5", "6"], "twice for whole frames"),
        (["a=1", "a=2"], "task a has two rates"),
        (["=3"], "names no task"),
        (["a="], "--rate is a="),
        (["a=5,speed=2"], "not understood at 'speed=2'"),
        (["a=5,deadline=200"], "not understood at 'deadline=200'"),
        (["a=5,deadline=0ms"], "not understood at 'deadline=0ms'"),
        (["a=5,priority=high"], "not understood at 'priority=high'"),
        (["a=5,deadline=1s"], "due again 0.2 s later, before its deadline of 1 s"),
    ],
)
def test_what_makes_no_sense_is_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_rates(texts)


def test_a_task_without_any_rate_and_a_rate_without_its_task_are_refused() -> None:
    with pytest.raises(UsageError, match="task b has no rate; give it one with --rate b=N"):
        rates_of(None, (TaskRate("a", Fraction(1)),), ("a", "b"))
    with pytest.raises(UsageError, match="names dog, which is not served; choose from: a"):
        rates_of(None, (TaskRate("dog", Fraction(1)),), ("a",))
