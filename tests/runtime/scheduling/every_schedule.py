"""Whether any schedule at all meets every deadline: all orders and all pauses are tried, for small sets."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.scheduling.timetable import Timetable

Pending = frozenset[tuple[str, int]]
"""Tasks with their deadlines in microseconds."""


def exists(rates: Sequence[TaskRate], times: Times, hyperperiods: int = 2) -> bool:
    """Whether so many hyperperiods can be got through without a miss.

    Args:
        rates: Few tasks, whose rates have a short hyperperiod.
        times: Of one round.
    """
    table = Timetable(rates)
    ticks = hyperperiods * table.hyperperiod

    def micros(seconds: float) -> int:
        return round(seconds * 1e6)

    @functools.cache
    def cost(task: str, ran: frozenset[str]) -> int:
        return micros(times.seconds(task, ran)[0])

    @functools.cache
    def goes_on(now: int, tick: int, pending: Pending, ran: frozenset[str]) -> bool:
        while tick < ticks and micros(tick * table.period_s) <= now:
            at = tick * table.period_s
            due = table.due(tick)
            if any(task in due for task, _ in pending):
                return False
            pending |= {(task, micros(at + table.deadline_s(task, tick))) for task in due}
            ran, tick = frozenset(), tick + 1
        if any(deadline < now for _, deadline in pending):
            return False
        if not pending and tick == ticks:
            return True
        for task, deadline in sorted(pending, key=lambda job: job[1]):
            end = now + cost(task, ran)
            if end <= deadline and goes_on(end, tick, pending - {(task, deadline)}, ran | {task}):
                return True
        return tick < ticks and goes_on(micros(tick * table.period_s), tick, pending, ran)

    return goes_on(0, 0, frozenset(), frozenset())
