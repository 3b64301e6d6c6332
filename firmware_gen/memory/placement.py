"""Offsets for buffers in one memory: a hill climb over orders, then an exact search.

The exact search rests on this: of all plans within a size take one whose offsets have the least sum. Put its buffers
down in the order of their offsets; each lies at the lowest place above those put down before it, and none could still
slip below the one put down next. So it is enough to try such orders. What is left of the memory at each step, above
what lies there already, has to hold what is still to come (the inference of MiniMalloc, ASPLOS 2024, section 5).
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from multigraft.tensors.arrays import Array

CLIMBING_STEPS = 250
"""Changes of the order tried from each start before the exact search."""
_FAR = 1 << 40
_FIRST_NODES = 200


@dataclass(frozen=True)
class Member:
    """Bytes in use from step ``first`` to ``last``, both included; all members of a group lie at one offset."""

    name: str
    size: int
    first: int
    last: int


class Placement:
    """One memory to be filled.

    Args:
        groups: What has to be placed.
        distances: (output, source) by name to how far the source has to lie behind the output at least, where the two
            may overlap at the step in which one becomes the other.
        savings: Step to the bytes that such overlaps can save there at most.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Member]],
        distances: Mapping[tuple[str, str], int],
        savings: Mapping[int, int],
    ) -> None:
        self.count = len(groups)
        self.sizes = np.array([max(m.size for m in g) for g in groups], np.int64)
        self._sizes: list[int] = self.sizes.tolist()
        self.groups = groups
        # above[i, j]: how far j lies above i at least if it does not lie below; negative where it does not matter.
        self.above = np.full((self.count, self.count), -_FAR, np.int64)
        for (i, a), (j, b) in itertools.permutations(enumerate(groups), 2):
            self.above[i, j] = _apart(a, b, distances)
        steps = sorted({m.first for g in groups for m in g})
        loads = np.array([[_at(g, t) for g in groups] for t in steps], np.int64).reshape(len(steps), self.count)
        saved = np.array([savings.get(t, 0) for t in steps], np.int64)
        kept = _fullest(loads, saved)
        self.loads, self.saved = loads[kept], saved[kept]
        self.granule = max(math.gcd(*map(int, self.sizes), *(int(d) for d in self.above.ravel() if d > 0)), 1)
        self._near = [
            [(j, int(self.above[i, j]), int(self.above[j, i])) for j in range(self.count) if self._meet(i, j)]
            for i in range(self.count)
        ]

    def _meet(self, i: int, j: int) -> bool:
        return bool(self.above[i, j] >= 0 or self.above[j, i] >= 0)

    def height(self, offsets: Sequence[int]) -> int:
        """Bytes that a plan takes."""
        return max(map(operator.add, offsets, self._sizes), default=0)

    def least(self) -> int:
        """Bytes that any plan needs: the fullest step."""
        return int((self.loads.sum(1) - self.saved).max(initial=0))

    def climb(self, goal: int) -> list[int]:
        """A good plan: put down in orders that are changed by swapping two; ends where ``goal`` is met."""
        random = Random(0)
        length = [max(m.last for m in g) - min(m.first for m in g) for g in self.groups]
        large = sorted(range(self.count), key=lambda i: (-int(self.sizes[i]), -length[i]))
        early = sorted(large, key=lambda i: min(m.first for m in self.groups[i]))
        best = self._put_down(large)
        least = self.height(best)
        for start in (large, early, early[::-1]):
            current, offsets = list(start), self._put_down(start)
            height = self.height(offsets)
            for _ in range(CLIMBING_STEPS if self.count > 1 else 0):
                if height < least:
                    best, least = offsets, height
                if least <= goal:
                    return best
                i, j = random.sample(range(self.count), 2)
                current[i], current[j] = current[j], current[i]
                changed = self._put_down(current)
                changed_height = self.height(changed)
                if changed_height <= height:
                    offsets, height = changed, changed_height
                else:
                    current[i], current[j] = current[j], current[i]
        return best if least <= height else offsets

    def _put_down(self, order: Sequence[int]) -> list[int]:
        """Each at the lowest place that those before it leave, gaps included."""
        offsets: list[int | None] = [None] * self.count
        for i in order:
            ranges = []
            for j, forward, backward in self._near[i]:
                there = offsets[j]
                if there is not None:
                    ranges.append((there - forward, there + backward))
            at = 0
            for low, high in sorted(ranges):
                # Ranges are open: their ends are allowed. A range that starts below an earlier one's end is looked
                # at in the order of its start, so one pass finds the lowest place.
                if low < at < high:
                    at = high
            offsets[i] = at
        return [at or 0 for at in offsets]

    def search(self, best: list[int] | None, bound: int, limit: int, budget: list[int]) -> tuple[list[int] | None, int]:
        """Look for less than ``best``, or at most ``limit`` if there is none yet, and raise the bound where possible.

        Args:
            best: A plan, or None.
            bound: No plan is smaller.
            limit: A plan larger than this is of no use.
            budget: Nodes left, counted down in place.

        Returns:
            The best plan, None if none within the limit was found; and the bound, above the limit if there is none.
        """
        size = self.height(best) if best is not None else (limit // self.granule + 1) * self.granule
        share = _FIRST_NODES
        while bound < size and budget[0] > 0:
            for part in (1.0, 0.5, 0.25, 0.125, 0.0):
                if bound >= size or budget[0] <= 0:
                    break
                goal = bound + int((size - self.granule - bound) * part) // self.granule * self.granule
                offsets, exhausted = self._within(goal, share, budget)
                if offsets is not None:
                    best, size = offsets, self.height(offsets)
                elif exhausted:
                    bound = goal + self.granule
            share *= 4
        return best, min(bound, size)

    def _within(self, goal: int, nodes: int, budget: list[int]) -> tuple[list[int] | None, bool]:
        """A plan of at most ``goal`` bytes; or None, and whether that is a proof that there is none."""
        for order in self._orders():
            left = [min(nodes, budget[0])]
            before = left[0]
            offsets = self._descend(goal, order, left)
            budget[0] -= before - left[0]
            if offsets is not None or left[0] > 0:
                return offsets, offsets is None
        return None, False

    def _orders(self) -> list[list[int]]:
        """Which of several that may come next comes first: by contention, length and area, in turn."""
        live = self.loads > 0
        width = live.sum(0)
        area = self.loads.sum(0)
        contention = np.where(live, self.loads.sum(1)[:, None], 0).max(0, initial=0)
        keys = ((contention, area, width), (area, width), (contention, width, area), (width, area, contention))
        return [list(np.lexsort([-k for k in reversed(key)])) for key in keys]

    def _descend(self, goal: int, order: list[int], left: list[int]) -> list[int] | None:
        """Depth first; ``left[0]`` is above 0 afterwards if everything was tried."""
        live, waiting = self.loads > 0, np.ones(self.count, bool)
        low = np.zeros(self.count, np.int64)
        # Per step: where what lies there ends, and the bytes still to come.
        state = (low, waiting, np.zeros(len(self.loads), np.int64), self.loads.sum(1), 0)
        stack = [(state, self._next(state, goal, order, live))]
        offsets = [0] * self.count
        while stack:
            (low, waiting, ends, rest, _), options = stack[-1]
            if not waiting.any():
                return offsets
            if not options:
                stack.pop()
                continue
            if left[0] <= 0:
                return None
            left[0] -= 1
            i = options.pop()
            at = int(low[i])
            offsets[i] = at
            load = self.loads[:, i]
            waiting = waiting.copy()
            waiting[i] = False
            state = (
                np.maximum(low, at + self.above[i]),
                waiting,
                np.maximum(ends, np.where(load > 0, at + load, 0)),
                rest - load,
                at,
            )
            stack.append((state, self._next(state, goal, order, live)))
        return None

    def _next(
        self, state: tuple[Array, Array, Array, Array, int], goal: int, order: list[int], live: Array
    ) -> list[int]:
        """Who may be put down next, the best last; none if what waits cannot be held."""
        low, waiting, ends, rest, floor = state
        if not waiting.any():
            return []
        tops = (low + self.sizes)[waiting]
        if tops.max() > goal:
            return []
        may = waiting & (low >= floor) & (low < tops.min())
        if not may.any():
            return []
        floor = int(low[may].min())
        lowest = np.where(live & waiting, np.maximum(low, floor), _FAR).min(1)
        begin = np.where(rest > 0, np.maximum(ends, lowest), ends)
        if (begin + rest - self.saved > goal).any():
            return []
        # The lowest place first, as a skyline is filled.
        return sorted((i for i in reversed(order) if may[i]), key=lambda i: -int(low[i]))


def _at(group: Sequence[Member], step: int) -> int:
    return max((m.size for m in group if m.first <= step <= m.last), default=0)


def _apart(below: Sequence[Member], over: Sequence[Member], distances: Mapping[tuple[str, str], int]) -> int:
    apart = -_FAR
    for a, b in itertools.product(below, over):
        if a.first <= b.last and b.first <= a.last:
            apart = max(apart, min(distances.get((a.name, b.name), a.size), a.size))
    return apart


def _fullest(loads: Array, saved: Array) -> list[int]:
    """The steps that are not implied by another one at which the same and more is live."""
    kept: list[int] = []
    for t in range(len(loads)):
        others = (u for u in range(len(loads)) if u != t and saved[u] <= saved[t])
        implied = any(
            (loads[u] >= loads[t]).all() and (u < t or (loads[u] > loads[t]).any() or saved[u] < saved[t])
            for u in others
        )
        if not implied:
            kept.append(t)
    return kept
