"""How far a search has come, and the best point that it has found so far."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable

from multigraft.converters.job.progress import Report, search_line, silent


class SearchProgress:
    """A report that counts the steps of a search besides. How many there are is known stage by stage.

    Args:
        report: Takes its lines and all others.
    """

    def __init__(self, report: Report = silent) -> None:
        self._report = report
        self._expected: dict[Hashable, int] = {}
        self._done: Counter[Hashable] = Counter()
        self._best = ""
        # Searches of several tasks may count at the same time.
        self._lock = threading.RLock()

    @classmethod
    def of(cls, report: Report) -> SearchProgress:
        """``report`` where it counts already, or else one that begins to."""
        return report if isinstance(report, cls) else cls(report)

    def __call__(self, line: str) -> None:
        """Pass a line on."""
        self._report(line)

    def expect(self, stage: Hashable, steps: int) -> None:
        """That a stage will take so many steps more, about."""
        with self._lock:
            self._expected[stage] = self._done[stage] + steps

    def done(self, stage: Hashable) -> None:
        """One step more of a stage."""
        with self._lock:
            self._done[stage] += 1
            self._show()

    def finish(self, stage: Hashable) -> None:
        """That a stage takes no more steps than it has taken."""
        with self._lock:
            if self._expected.get(stage, 0) > self._done[stage]:
                self._expected[stage] = self._done[stage]
                self._show()

    def end(self) -> None:
        """That no stage takes more steps than it has taken."""
        if any(steps > self._done[stage] for stage, steps in self._expected.items()):
            self._expected.clear()
            self._show()

    def best(self, point: str) -> None:
        """That this is the best point so far; it is shown with the next step. Empty where there is none any more."""
        self._best = point

    def _show(self) -> None:
        done = self._done.total()
        total = sum(max(self._expected.get(stage, 0), self._done[stage]) for stage in {*self._expected, *self._done})
        if done:
            self._report(search_line(done, total, self._best))
