"""Buffers in several memories, where the first one is too small: as little of the first as the others allow.

Which region a buffer lies in is searched depth first, the largest first; what is left of every step after the other
regions are full bounds what the first one has to take. At the leaves :mod:`multigraft.firmware_gen.memory.placement`
finds the offsets of each region.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.firmware_gen.memory.placement import Member, Placement
from multigraft.firmware_gen.memory.planner import (
    ArenaPlan,
    Buffer,
    Sharing,
    by_member,
    check,
    distances_of,
    groupings,
    plan,
    savings_of,
)

MOST_CHOICES = 20_000
"""Choices of a buffer's region in all before the best plan so far is taken and the gap reported."""
_NODES = 1_000
_MOST_LEAVES = 200

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """Memory for buffers.

    Attributes:
        name: Its name in the linker script.
        size: Bytes that may be taken.
        dma: Peripherals reach it; buffers they may fill are put nowhere else.
        section: Linker section that puts a variable there; "" for the first space, where data lies anyway.
    """

    name: str
    size: int
    dma: bool = True
    section: str = ""


def spread(
    buffers: Sequence[Buffer], spaces: Sequence[Space], sharings: Iterable[Sharing] = (), choices: int = MOST_CHOICES
) -> ArenaPlan | None:
    """Place ``buffers`` in the first space, or over all of them if that one is too small.

    Returns:
        The plan that takes least of the first space; None if no plan was found that fits.
    """
    sharings = list(sharings)
    check(buffers, sharings)
    alone = plan(buffers, sharings)
    if alone.size <= spaces[0].size:
        return alone
    search = _Search(buffers, spaces, sharings, choices)
    search.run()
    return search.best


class _Search:
    def __init__(
        self, buffers: Sequence[Buffer], spaces: Sequence[Space], sharings: Sequence[Sharing], choices: int
    ) -> None:
        self.buffers, self.spaces, self.sharings = buffers, spaces, sharings
        self.distances = distances_of(sharings)
        self.behind = [s for s in sharings if s.distance is not None]
        self.savings = [(s, savings_of(buffers, [s])[self._first(s.output)]) for s in self.behind]
        self.for_dma = {b.name for b in buffers if b.dma}
        self.choices, self.leaves = [choices], _MOST_LEAVES
        self.best: ArenaPlan | None = None
        self.limit = spaces[0].size
        self.unproven = 1 << 62
        """The least that a part of the search which was given up might have found."""

    def _first(self, name: str) -> int:
        return next(b.first for b in self.buffers if b.name == name)

    def run(self) -> None:
        complete = True
        for groups, whole in groupings(self.buffers, self.sharings, self.choices):
            if not whole:
                complete = False
                break
            self._begin(groups)
            self._choose(0, np.zeros_like(self.free[0]), self.free)
            complete &= self.choices[0] > 0
            if self.best is not None and self.best.size <= self.bound:
                break
        if self.best is not None:
            known = min(self.best.size, self.unproven) if complete else self.bound
            bound = min(max(known, self.bound), self.best.size)
            best = self.best
            self.best = ArenaPlan(best.offsets, best.size, bound, best.regions, best.elsewhere)

    def _begin(self, groups: list[list[Member]]) -> None:
        steps = sorted({m.first for g in groups for m in g})
        self.groups = sorted(groups, key=lambda g: -sum(m.size * (m.last - m.first + 1) for m in g))
        self.loads = np.array(
            [[max((m.size for m in g if m.first <= t <= m.last), default=0) for t in steps] for g in self.groups],
            np.int64,
        )
        number = {m.name: i for i, g in enumerate(self.groups) for m in g}
        self.saved = [
            (number[s.output], number[s.source], steps.index(self._first(s.output)), saving)
            for s, saving in self.savings
        ]
        self.may = [
            [
                k
                for k, space in enumerate(self.spaces)
                if k == 0 or (self._size(g) <= space.size and (space.dma or not self._needs_dma(g)))
            ]
            for g in self.groups
        ]
        self.free = np.array([[space.size] * len(steps) for space in self.spaces[1:]], np.int64)
        self.rest = np.concatenate([np.cumsum(self.loads[::-1], 0)[::-1], np.zeros((1, len(steps)), np.int64)])
        self.chosen = [0] * len(self.groups)
        self.bound = self._least(np.zeros(len(steps), np.int64), self.free, 0)

    def _size(self, group: Sequence[Member]) -> int:
        return max(m.size for m in group)

    def _needs_dma(self, group: Sequence[Member]) -> bool:
        return any(m.name in self.for_dma for m in group)

    def _least(self, first: Array, free: Array, index: int) -> int:
        """Bytes of the first region at the fullest step, if all that waits goes elsewhere as far as it may.

        An output may overlap its source only where both lie in one region.
        """
        saved = np.zeros((len(self.spaces) + 1, len(first)), np.int64)
        for output, source, step, saving in self.saved:
            if output >= index:
                saved[-1, step] += saving
            elif source >= index or self.chosen[source] == self.chosen[output]:
                saved[self.chosen[output], step] += saving
        if (free + saved[1:-1]).min(initial=0) < 0:
            return self.limit + 1
        over = self.rest[index] - saved[-1] - (free + saved[1:-1]).sum(0)
        return int((first - saved[0] + np.maximum(over, 0)).max(initial=0))

    def _choose(self, index: int, first: Array, free: Array) -> None:
        if self.best is not None and self.best.size <= self.bound:
            return
        if self._least(first, free, index) > self.limit:
            return
        if index == len(self.groups):
            self._leaf(self._least(first, free, index))
            return
        if self.choices[0] <= 0 or self.leaves <= 0:
            self.choices[0] = 0
            return
        self.choices[0] -= 1
        load = self.loads[index]
        for k in sorted(self.may[index], reverse=True):
            self.chosen[index] = k
            if k == 0:
                self._choose(index + 1, first + load, free)
            else:
                less = free.copy()
                less[k - 1] -= load
                self._choose(index + 1, first, less)

    def _leaf(self, least: int) -> None:
        """Offsets for what was chosen; ``least`` is what the first region needs for it."""
        self.leaves -= 1
        offsets: dict[str, int] = {}
        sizes = []
        for k in range(len(self.spaces) - 1, -1, -1):
            groups = [g for g, chosen in zip(self.groups, self.chosen, strict=True) if chosen == k]
            if not groups:
                sizes.append(0)
                continue
            room = self.limit if k == 0 else self.spaces[k].size
            placement, budget = Placement(groups, self.distances, self._savings(groups)), [_NODES]
            bound = placement.least()
            goal = max(self.bound, bound) if k == 0 else room
            start: list[int] | None = placement.climb(goal)
            if start is not None and placement.height(start) > room:
                start = None
            if k == 0 or start is None:
                start, bound = placement.search(start, bound, room, budget)
            if start is None:
                if bound <= room:
                    self.unproven = min(self.unproven, least)
                return
            if k == 0 and bound < placement.height(start):
                self.unproven = min(self.unproven, bound)
            offsets |= by_member(groups, start)
            sizes.append(placement.height(start))
        sizes.reverse()
        regions = {m.name: k for g, k in zip(self.groups, self.chosen, strict=True) for m in g if k}
        self.best = ArenaPlan(offsets, sizes[0], 0, regions, tuple(sizes[1:]))
        self.limit = sizes[0] - 4

    def _savings(self, groups: list[list[Member]]) -> dict[int, int]:
        names = {m.name for g in groups for m in g}
        here = [b for b in self.buffers if b.name in names]
        return savings_of(here, [s for s in self.behind if {s.output, s.source} <= names])
