"""What parts of a frame take, measured round by round, and what a task takes after others of the same frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from multigraft.tensors.arrays import Array

QUANTILE = 0.99
CONFIDENCE = 0.95


class Times:
    """Measured times.

    Args:
        parts: Task to the parts it needs; those that tasks share have one name.
        rounds: Part to seconds, one value a round; each round holds every part once, so what slowed one of its parts
            slowed the others.

    Attributes:
        rounds: How many there are.
    """

    def __init__(self, parts: Mapping[str, Sequence[str]], rounds: Mapping[str, Sequence[float] | Array]) -> None:
        self._parts = {task: tuple(dict.fromkeys(names)) for task, names in parts.items()}
        self._seconds = {name: np.asarray(values, np.float64) for name, values in rounds.items()}
        self.rounds = len(next(iter(self._seconds.values())))
        self._sums: dict[tuple[str, frozenset[str]], list[float]] = {}
        self._bounds: dict[tuple[str, frozenset[str]], float] = {}

    def seconds(self, task: str, after: frozenset[str] = frozenset()) -> list[float]:
        """Of each round what a task took without the parts that ``after`` had run on the same frame."""
        key = (task, after)
        if key not in self._sums:
            there = {part for other in after for part in self._parts[other]}
            left = [self._seconds[part] for part in self._parts[task] if part not in there]
            total: Array = np.sum(left, axis=0) if left else np.zeros(self.rounds)
            self._sums[key] = total.tolist()
        return self._sums[key]

    def bound_s(self, task: str, after: frozenset[str] = frozenset()) -> float:
        """The :data:`QUANTILE` of :meth:`seconds`, at most, with confidence :data:`CONFIDENCE`."""
        key = (task, after)
        if key not in self._bounds:
            self._bounds[key] = upper_bound(self.seconds(task, after))
        return self._bounds[key]

    def apart(self, groups: Iterable[Collection[str]]) -> Times:
        """The same where tasks of different groups are asked of different frames, and so share no part.

        Args:
            groups: Of tasks; one task is in one group.
        """
        number = {task: place for place, group in enumerate(groups) for task in group}
        parts = {task: [f"{number.get(task, '')} {name}" for name in names] for task, names in self._parts.items()}
        seconds = {own: self._seconds[own.partition(" ")[2]] for names in parts.values() for own in names}
        return Times(parts, seconds)

    def longer(self, factor: float) -> Times:
        """The same on a machine where all takes ``factor`` times as long."""
        return Times(self._parts, {name: seconds * factor for name, seconds in self._seconds.items()})

    def mean_s(self, part: str) -> float:
        """Of one part."""
        return float(self._seconds[part].mean())

    @property
    def confidence(self) -> float:
        """Of :meth:`bound_s`: less than :data:`CONFIDENCE` where there are too few rounds, whose largest is taken."""
        return min(CONFIDENCE, 1 - QUANTILE**self.rounds)


def upper_bound(values: Sequence[float], quantile: float = QUANTILE, confidence: float = CONFIDENCE) -> float:
    """The smallest value of a sample that is at least the quantile with that confidence; the largest if none is.

    The k-th smallest of n is at least the quantile q with probability P(Binomial(n, q) < k), whatever the distribution
    (Hahn and Meeker, Statistical Intervals, 1991, section 5.2).
    """
    ordered = sorted(values)
    n, below = len(ordered), 0.0
    for k in range(n):
        chance = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        below += math.exp(chance + k * math.log(quantile) + (n - k) * math.log1p(-quantile))
        if below >= confidence:
            return ordered[k]
    return ordered[-1]
