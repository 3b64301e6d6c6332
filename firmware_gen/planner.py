"""Where each buffer lies in the arena: an exact search, with proof of optimality or the gap that is left.

A buffer lives over a closed range of steps. Two that live at the same step must not overlap, except that an output may
share memory with an input that dies at its step (:class:`Sharing`). The search rests on this: push the buffers of an
optimal plan down one after the other, lowest first; each comes to rest at 0, at the end of another, or at the least
distance behind an output it may share with. So it is enough to try orders and to put each buffer at its lowest place,
and of the orders only those that give non-decreasing offsets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from multigraft.errors import UsageError

ALIGNMENT = 4
MOST_NODES = 2_000
"""Search nodes in all before the best plan so far is taken and the gap reported."""
CLIMBING_STEPS = 250
"""Changes of the order tried from each start before the exact search."""
_MOST_ALIASES = 6


@dataclass(frozen=True)
class Buffer:
    """Memory of ``size`` bytes that is in use from step ``first`` to step ``last``, both included."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Sharing:
    """``output`` may overlap ``source``: that far behind it at least, or exactly in place if ``distance`` is None."""

    output: str
    source: str
    distance: int | None


@dataclass(frozen=True)
class Plan:
    """Offsets by buffer name.

    Attributes:
        offsets: Bytes from the arena's start.
        size: Bytes of the arena.
        bound: No plan can be smaller than this; the plan is optimal if it equals ``size``.
    """

    offsets: dict[str, int]
    size: int
    bound: int

    @property
    def optimal(self) -> bool:
        return self.size == self.bound


def plan(buffers: Sequence[Buffer], sharings: Iterable[Sharing] = ()) -> Plan:
    """Place ``buffers`` in as few bytes as possible.

    Raises:
        UsageError: Names are not unique, or a sharing names a buffer that is not there.
    """
    by_name = {b.name: b for b in buffers}
    sharings = list(sharings)
    if len(by_name) != len(buffers):
        raise UsageError("two buffers have one name", "give each its own")
    for sharing in sharings:
        if sharing.output not in by_name or sharing.source not in by_name:
            raise UsageError(f"{sharing} names a buffer that is not there", "list it")
    distances = [s for s in sharings if s.distance is not None]
    aliases = [s for s in sharings if s.distance is None]
    bound = lower_bound(buffers, sharings)
    budget = [MOST_NODES]
    best: Plan | None = None
    complete = True
    for chosen in _choices(aliases):
        if len(aliases) > _MOST_ALIASES and len(chosen) < len(aliases) and budget[0] <= 0:
            complete = False
            break
        placed, exact = _place(buffers, distances, chosen, bound, best.size if best else None, budget)
        complete &= exact
        if placed is not None and (best is None or placed.size < best.size):
            best = placed
        if best is not None and best.size == bound:
            return best
    assert best is not None
    return Plan(best.offsets, best.size, best.size if complete else bound)


def _choices(aliases: list[Sharing]) -> Iterable[tuple[Sharing, ...]]:
    """All subsets, the full one first."""
    for count in range(len(aliases), -1, -1):
        yield from itertools.combinations(aliases, count)


def lower_bound(buffers: Sequence[Buffer], sharings: Iterable[Sharing] = ()) -> int:
    """Bytes that any plan needs: the fullest step, each output overlapping its inputs as far as it may."""
    by_name = {b.name: _rounded(b.size) for b in buffers}
    saved: dict[str, int] = {}
    step_of = {b.name: b.first for b in buffers}
    for s in sharings:
        out, source = by_name[s.output], by_name[s.source]
        together = max(out, max(s.distance or 0, 0) + source)
        saved[s.output] = min(saved.get(s.output, 0) + max(out + source - together, 0), out)
    steps = {b.first for b in buffers} | {b.last for b in buffers}
    return max(
        (
            sum(by_name[b.name] for b in buffers if b.first <= t <= b.last)
            - sum(saving for name, saving in saved.items() if step_of[name] == t)
            for t in steps
        ),
        default=0,
    )


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class _Group:
    """Buffers at one offset, one behind the other in time."""

    members: tuple[Buffer, ...]
    size: int


def _place(
    buffers: Sequence[Buffer],
    distances: list[Sharing],
    aliases: Sequence[Sharing],
    bound: int,
    limit: int | None,
    budget: list[int],
) -> tuple[Plan | None, bool]:
    groups = _grouped(buffers, aliases)
    if groups is None:
        return None, True
    search = _Search(groups, distances, bound, limit, budget)
    search.run()
    if search.best is None:
        return None, search.complete
    offsets = {m.name: at for g, at in zip(groups, search.best, strict=True) for m in g.members}
    return Plan(offsets, search.best_size, bound), search.complete


def _grouped(buffers: Sequence[Buffer], aliases: Sequence[Sharing]) -> list[_Group] | None:
    parent = {b.name: b.name for b in buffers}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for alias in aliases:
        parent[root(alias.output)] = root(alias.source)
    members: dict[str, list[Buffer]] = {}
    for b in buffers:
        members.setdefault(root(b.name), []).append(b)
    pairs = {frozenset((a.output, a.source)) for a in aliases}
    for group in members.values():
        for a, b in itertools.combinations(group, 2):
            if a.first <= b.last and b.first <= a.last and frozenset((a.name, b.name)) not in pairs:
                return None
    return [_Group(tuple(g), max(_rounded(b.size) for b in g)) for g in members.values()]


class _Search:
    """Depth-first over orders of groups, each put at its lowest place."""

    def __init__(
        self, groups: list[_Group], distances: list[Sharing], bound: int, limit: int | None, budget: list[int]
    ) -> None:
        self.groups = groups
        self.bound = bound
        self.budget = budget
        self.best: list[int] | None = None
        self.best_size = limit if limit is not None else 1 << 62
        self.complete = True
        by_names = {(s.output, s.source): s.distance for s in distances}
        # between[i][j]: None if they never live together, else the distance j needs behind i where i may share with j,
        # else -1.
        self.between: list[list[int | None]] = [[self._relation(a, b, by_names) for b in groups] for a in groups]

        count = range(len(groups))
        self.near = [
            [j for j in count if self.between[i][j] is not None or self.between[j][i] is not None] for i in count
        ]

    @staticmethod
    def _relation(a: _Group, b: _Group, known: dict[tuple[str, str], int | None]) -> int | None:
        if a is b:
            return None
        relation: int | None = None
        for x, y in itertools.product(a.members, b.members):
            if x.first <= y.last and y.first <= x.last:
                distance = known.get((x.name, y.name))
                if distance is None:
                    return -1
                relation = max(relation or 0, _rounded(max(distance, 0)))
        return relation

    def _forbidden(self, i: int, j: int, there: int) -> list[tuple[int, int]]:
        """Open ranges of offsets that group ``i`` may not have while ``j`` lies at ``there``."""
        forward, backward = self.between[i][j], self.between[j][i]
        low, high = there - self.groups[i].size, there + self.groups[j].size
        if forward is not None and forward >= 0:
            low = max(low, there - forward)
        if backward is not None and backward >= 0:
            high = min(high, there + backward)
        if forward is not None and forward == 0:
            # In place is allowed as well, so the range is split there.
            return [(there, high)] if low >= there else [(low, there), (there, high)]
        return [(low, high)]

    def lowest(self, i: int, placed: dict[int, int]) -> int:
        """The lowest offset group ``i`` may have."""
        ranges = sorted(r for j in self.near[i] if j in placed for r in self._forbidden(i, j, placed[j]))
        at = 0
        # Ranges are open, so one that starts at or above the offset does not forbid it.
        moved = True
        while moved:
            moved = False
            for low, high in ranges:
                if low < at < high:
                    at, moved = high, True
        return at

    def run(self) -> None:
        # Large and long-lived buffers first: good plans are found early.
        order = sorted(
            range(len(self.groups)),
            key=lambda i: (-self.groups[i].size, -sum(m.last - m.first for m in self.groups[i].members)),
        )
        self._climb(order)
        self._descend({}, 0, 0, order)

    def _climb(self, order: list[int]) -> None:
        """Swap two in the order in which buffers are put down, and keep what is not worse."""
        random = Random(0)
        by_start = sorted(order, key=lambda i: min(m.first for m in self.groups[i].members))
        for start in (order, by_start, by_start[::-1]):
            current = list(start)
            size = self._try(current)
            for _ in range(CLIMBING_STEPS if len(current) > 1 else 0):
                if self.best_size <= self.bound:
                    return
                i, j = random.sample(range(len(current)), 2)
                current[i], current[j] = current[j], current[i]
                changed = self._try(current)
                if changed <= size:
                    size = changed
                else:
                    current[i], current[j] = current[j], current[i]

    def _try(self, order: list[int]) -> int:
        placed: dict[int, int] = {}
        for i in order:
            placed[i] = self.lowest(i, placed)
        self._take(placed)
        return max((at + self.groups[i].size for i, at in placed.items()), default=0)

    def _take(self, placed: dict[int, int]) -> None:
        size = max((at + self.groups[i].size for i, at in placed.items()), default=0)
        if size < self.best_size:
            self.best_size = size
            self.best = [placed[i] for i in range(len(self.groups))]

    def _descend(self, placed: dict[int, int], floor: int, height: int, order: list[int]) -> None:
        if self.best_size <= self.bound or height >= self.best_size:
            return
        if len(placed) == len(self.groups):
            self._take(placed)
            return
        if self.budget[0] <= 0:
            self.complete = False
            return
        self.budget[0] -= 1
        options = []
        for i in order:
            if i not in placed:
                at = self.lowest(i, placed)
                # Every buffer still to come lies at least this high.
                if at + self.groups[i].size >= self.best_size:
                    return
                if at >= floor:
                    options.append((at, i))
        options.sort(key=lambda option: option[0])
        for at, i in options:
            self._descend(placed | {i: at}, at, max(height, at + self.groups[i].size), order)
