"""On which frames a task is due.

The fastest task sets the ticks at which a frame is taken. Every slower one is due at some of these ticks, never between
them: the j-th time at the first tick that is not before j / rate. So the segments that tasks share run once a tick,
which is as seldom as the fastest task lets them; each task keeps its rate exactly, and is late by less than one tick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from multigraft.runtime.scheduling.rates import TaskRate


class Timetable:
    """Ticks, counted from 0, and who is due at each.

    Args:
        rates: At least one task.

    Attributes:
        rates: As given.
        period_s: Between ticks, seconds.
        hyperperiod: Ticks, after which everything repeats.
    """

    def __init__(self, rates: Sequence[TaskRate]) -> None:
        self.rates = tuple(rates)
        fastest = max(rate.rate_hz for rate in rates)
        self.period_s = float(1 / fastest)
        self._parts = {rate.task: (rate.rate_hz / fastest).as_integer_ratio() for rate in rates}
        self._deadlines = {rate.task: rate.deadline_s or math.inf for rate in rates}
        self.hyperperiod = math.lcm(*(ticks for _, ticks in self._parts.values()))

    def due(self, tick: int) -> list[str]:
        """Tasks, in the order of the rates."""
        return [task for task, (n, d) in self._parts.items() if not tick or tick * n // d > (tick - 1) * n // d]

    def deadline_s(self, task: str, tick: int) -> float:
        """Seconds from the tick at which a task is due to when its answer has to be there.

        Never after the tick at which it is due again: the newer frame counts then.
        """
        n, d = self._parts[task]
        again = -(-(tick * n // d + 1) * d // n)
        return min(self._deadlines[task], (again - tick) * self.period_s)
