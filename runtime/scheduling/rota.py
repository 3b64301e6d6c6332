"""Which task comes next: earliest deadline first, with the segments that tasks share, where nothing can be interrupted.

An inference that runs cannot be stopped. So before one begins, the next tick is looked at: a task that would make one
of that tick late is held back, if it can wait itself. Earliest deadline first without interruption (Jeffay, Stanat and
Martel, "On non-preemptive scheduling of periodic and sporadic tasks", RTSS 1991) never pauses, and so misses deadlines
that a pause would meet where release times are known (Nasri and Fohler, "Non-work-conserving non-preemptive scheduling:
motivations, challenges, and potential solutions", ECRTS 2016). A task of lower priority waits in any case.

A frame that was not answered when its task is due again counts as missed, and the newer one is answered in its place.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.scheduling.timetable import Timetable

Cost = Callable[[str, frozenset[str]], float]
"""Seconds that a task takes at most after others of the same frame."""
ROUNDING_S = 1e-9
"""What ends with its deadline is in time, however the sums were rounded."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Job:
    """A task that is due: its answer has to be there at ``deadline_s``, of the clock."""

    task: str
    deadline_s: float
    priority: int
    place: int


class Rota:
    """Ticks, what is due, and what has become of it.

    Args:
        rates: Of the tasks.
        cost: What they take.
        clock: Seconds, monotonic.
        is_looking_ahead: Hold tasks back; without, it is plain earliest deadline first.

    Attributes:
        met: Task to answers in time.
        missed: Task to answers that came late or never.
    """

    def __init__(
        self,
        rates: Sequence[TaskRate],
        cost: Cost,
        clock: Callable[[], float] = time.monotonic,
        is_looking_ahead: bool = True,
    ) -> None:
        self._cost, self._clock, self._is_looking_ahead = cost, clock, is_looking_ahead
        self.met: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._pending: dict[str, Job] = {}
        self._ran = _NOTHING
        self._wanted: tuple[TaskRate, ...] | None = None
        self._since: float | None = None
        self._can_be_asked: Callable[[str], bool] = lambda task: True
        self._set(tuple(rates), clock())

    def _set(self, rates: tuple[TaskRate, ...], at_s: float) -> None:
        self._table = Timetable(rates)
        self._order = {rate.task: (rate.priority, place) for place, rate in enumerate(rates)}
        self._tick, self._at_s = 0, at_s

    @property
    def rates(self) -> tuple[TaskRate, ...]:
        """Those of now."""
        return self._table.rates

    @property
    def ran(self) -> frozenset[str]:
        """Tasks that were answered on this frame."""
        return self._ran

    @property
    def is_due(self) -> bool:
        """Whether a new frame is wanted."""
        return self._clock() >= self._at_s

    def change(self, rates: Sequence[TaskRate]) -> None:
        """Other rates for the same tasks, from the next frame on; from any thread."""
        self._wanted = tuple(rates)

    def wait_s(self) -> float:
        """Seconds until a new frame is wanted; 0 if it is."""
        now = self._clock()
        if now >= self._at_s and self._since is None:
            self._since = now
        return max(0.0, self._at_s - now)

    def begin(self) -> None:
        """A frame was taken: everything that is due until now is asked of it.

        Time that passed since :meth:`wait_s` said that one is wanted was spent waiting for the camera. Ticks move by
        that much, as nobody can answer a frame that is not there.
        """
        now = self._clock()
        if self._since is not None:
            self._at_s += max(0.0, now - self._since)
            self._since = None
        self._ran = _NOTHING
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self._set(wanted, min(self._at_s, now))
            self._pending.clear()
        while self._at_s <= now:
            for task in self._table.due(self._tick):
                if task in self._pending:
                    self.missed[task] += 1
                self._pending[task] = self._job(task, self._tick, self._at_s)
            self._tick += 1
            self._at_s += self._table.period_s

    @property
    def pending(self) -> Collection[str]:
        """Tasks that are due and not answered."""
        return self._pending.keys()

    def next(self, can_be_asked: Callable[[str], bool] = lambda task: True) -> str | None:
        """The task to answer now, on the frame that was taken last; None if all have to wait for the next one.

        Args:
            can_be_asked: Whether a task has a frame. One without is not looked ahead for either: a camera that hangs
                must hold back nobody.
        """
        now = self._clock()
        self._can_be_asked = can_be_asked
        for task in [job.task for job in self._pending.values() if job.deadline_s <= now]:
            self.drop(task)
        jobs = sorted((job for job in self._pending.values() if can_be_asked(job.task)), key=_order)
        return next((job.task for job in jobs if not self._is_looking_ahead or not self._harms(job, now)), None)

    def deadline_s(self, task: str) -> float:
        """Of a task that is due, of the clock."""
        return self._pending[task].deadline_s

    def done(self, task: str) -> bool:
        """A task was answered; whether in time."""
        job = self._pending.pop(task)
        is_met = self._clock() <= job.deadline_s
        (self.met if is_met else self.missed)[task] += 1
        self._ran |= {task}
        return is_met

    def drop(self, task: str) -> None:
        """A task's answer will not come."""
        del self._pending[task]
        self.missed[task] += 1

    def _job(self, task: str, tick: int, at_s: float) -> Job:
        priority, place = self._order[task]
        return Job(task, at_s + self._table.deadline_s(task, tick) + ROUNDING_S, priority, place)

    def _harms(self, job: Job, now: float) -> bool:
        """Whether another one would be late because of this one."""
        end, after = now + self._cost(job.task, self._ran), self._ran | {job.task}
        for other in self._pending.values():
            if (
                other.priority > job.priority
                and self._can_be_asked(other.task)
                and now + self._cost(other.task, self._ran) <= other.deadline_s
                and end + self._cost(other.task, after) > other.deadline_s
            ):
                return True
        return end > self._at_s and self._harms_next(job, end)

    def _harms_next(self, job: Job, end: float) -> bool:
        """The same of those that are due at the next tick, asked in their order, with it before them or not."""
        without = can_wait_until = self._at_s
        with_it, ran, harmed = end, _NOTHING, list[int]()
        tasks = (t for t in self._table.due(self._tick) if t != job.task and self._can_be_asked(t))
        due = (self._job(task, self._tick, self._at_s) for task in tasks)
        for other in sorted(due, key=_order):
            taken = self._cost(other.task, ran)
            without, with_it, ran = without + taken, with_it + taken, ran | {other.task}
            if without <= other.deadline_s < with_it:
                harmed.append(other.priority)
            if other.deadline_s <= job.deadline_s:
                can_wait_until = without
        if not harmed:
            return False
        if max(harmed) > job.priority:
            return True
        return max(harmed) == job.priority and can_wait_until + self._cost(job.task, ran) <= job.deadline_s


def _order(job: Job) -> tuple[float, int, int]:
    """The smallest comes first."""
    return job.deadline_s, -job.priority, job.place
