"""Where each buffer lies in the arena: an exact search, with proof of optimality or the gap that is left.

A buffer lives over a closed range of steps. Two that live at the same step must not overlap, except that an output may
share memory with an input that dies at its step (:class:`Sharing`). :mod:`multigraft.firmware_gen.memory.placement`
finds offsets; here it is chosen which buffers lie exactly in place. :mod:`multigraft.firmware_gen.memory.regions` uses
several memories where one is too small.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from multigraft.errors import UsageError
from multigraft.firmware_gen.memory.placement import Member, Placement

ALIGNMENT = 4
MOST_NODES = 2_000
"""Search nodes in all before the best plan so far is taken and the gap reported."""
_MOST_ALIASES = 6


@dataclass(frozen=True)
class Buffer:
    """Memory of ``size`` bytes that is in use from step ``first`` to step ``last``, both included.

    ``dma``: peripherals may fill or read it, so it has to lie where they can.
    """

    name: str
    size: int
    first: int
    last: int
    dma: bool = False


@dataclass(frozen=True)
class Sharing:
    """``output`` may overlap ``source``: that far behind it at least, or exactly in place if ``distance`` is None."""

    output: str
    source: str
    distance: int | None


@dataclass(frozen=True)
class ArenaPlan:
    """Offsets by buffer name.

    Attributes:
        offsets: Bytes from the start of the buffer's region.
        size: Bytes of the first region.
        bound: No plan can take less of the first region, the others holding what they can; the plan is optimal if it
            equals ``size``.
        regions: Buffers that lie in another region than the first, and its number.
        elsewhere: Bytes of the other regions.
    """

    offsets: dict[str, int]
    size: int
    bound: int
    regions: Mapping[str, int] = field(default_factory=dict)
    elsewhere: tuple[int, ...] = ()

    @property
    def optimal(self) -> bool:
        """Whether no plan can take less."""
        return self.size == self.bound

    @property
    def total(self) -> int:
        """Bytes of all regions."""
        return self.size + sum(self.elsewhere)


def plan(buffers: Sequence[Buffer], sharings: Iterable[Sharing] = (), nodes: int = MOST_NODES) -> ArenaPlan:
    """Place ``buffers`` in as few bytes as possible.

    Raises:
        UsageError: Names are not unique, or a sharing names a buffer that is not there.
    """
    sharings = list(sharings)
    check(buffers, sharings)
    if not buffers:
        return ArenaPlan({}, 0, 0)
    bound, budget = lower_bound(buffers, sharings), [nodes]
    # What lies exactly in place is one group and saves nothing more.
    behind = [s for s in sharings if s.distance is not None]
    best: ArenaPlan | None = None
    proven = 1 << 62
    distances, savings = distances_of(sharings), savings_of(buffers, behind)
    # One thing less in place can be better; that is asked of climbs, as the search may spend all nodes on one choice.
    ahead = 1 + sum(s.distance is None for s in sharings) if nodes > MOST_NODES else 1
    for choice in _climbed(groupings(buffers, sharings, budget), distances, savings, bound, ahead):
        if choice is None:
            proven = bound
            break
        placement = choice.placement
        if best is not None and choice.height > best.size:
            offsets, least = placement.search(None, bound, best.size - placement.granule, budget)
        else:
            offsets, least = placement.search(choice.start, bound, 0, budget)
        proven = min(proven, least)
        if offsets is not None and (best is None or placement.height(offsets) < best.size):
            best = ArenaPlan(by_member(placement.groups, offsets), placement.height(offsets), bound)
        if best is not None and best.size == bound:
            return best
    assert best is not None
    return ArenaPlan(best.offsets, best.size, min(max(proven, bound), best.size))


@dataclass(frozen=True)
class _Choice:
    """A grouping, and where its hill climb ends."""

    placement: Placement
    start: list[int]
    height: int


def _climbed(
    choices: Iterable[tuple[list[list[Member]], bool]],
    distances: Mapping[tuple[str, str], int],
    savings: Mapping[int, int],
    bound: int,
    ahead: int,
) -> Iterator[_Choice | None]:
    """The choices of :func:`groupings`, the lowest of the first ``ahead`` in front; None ends an unfinished list."""

    def climbed() -> Iterator[_Choice | None]:
        for groups, complete in choices:
            if not complete:
                yield None
                return
            placement = Placement(groups, distances, savings)
            start = placement.climb(bound)
            yield _Choice(placement, start, placement.height(start))

    every = climbed()
    first: list[_Choice | None] = []
    for choice in every:
        first.append(choice)
        if choice is None or choice.height == bound or len(first) == ahead:
            break
    yield from sorted(first, key=lambda choice: 1 << 62 if choice is None else choice.height)
    yield from every


def check(buffers: Sequence[Buffer], sharings: Sequence[Sharing]) -> None:
    """Refuse names that are not unique or not there."""
    names = {b.name for b in buffers}
    if len(names) != len(buffers):
        raise UsageError("two buffers have one name", "give each its own")
    for sharing in sharings:
        if sharing.output not in names or sharing.source not in names:
            raise UsageError(f"{sharing} names a buffer that is not there", "list it")


def groupings(
    buffers: Sequence[Buffer], sharings: Sequence[Sharing], budget: list[int]
) -> Iterator[tuple[list[list[Member]], bool]]:
    """Every choice of what lies in place, all of it first, as groups at one offset each; False ends an unfinished list.

    With many that may, the rest is left out once the budget is spent.
    """
    aliases = [s for s in sharings if s.distance is None]
    for count in range(len(aliases), -1, -1):
        for chosen in itertools.combinations(aliases, count):
            if count < len(aliases) and len(aliases) > _MOST_ALIASES and budget[0] <= 0:
                yield [], False
                return
            groups = _grouped(buffers, chosen)
            if groups is not None:
                yield groups, True


def distances_of(sharings: Iterable[Sharing]) -> dict[tuple[str, str], int]:
    """(output, source) to the bytes the source has to lie behind, where the two may overlap."""
    return {(s.output, s.source): rounded(max(s.distance, 0)) for s in sharings if s.distance is not None}


def savings_of(buffers: Sequence[Buffer], sharings: Iterable[Sharing]) -> dict[int, int]:
    """Step to the bytes that overlaps can save there at most."""
    by_name = {b.name: rounded(b.size) for b in buffers}
    saved: dict[str, int] = {}
    for s in sharings:
        out, source = by_name[s.output], by_name[s.source]
        together = max(out, max(s.distance or 0, 0) + source)
        saved[s.output] = min(saved.get(s.output, 0) + max(out + source - together, 0), out)
    savings: dict[int, int] = {}
    for b in buffers:
        savings[b.first] = savings.get(b.first, 0) + saved.get(b.name, 0)
    return savings


def lower_bound(buffers: Sequence[Buffer], sharings: Iterable[Sharing] = ()) -> int:
    """Bytes that any plan needs: the fullest step, each output overlapping its inputs as far as it may."""
    savings = savings_of(buffers, sharings)
    steps = {b.first for b in buffers} | {b.last for b in buffers}
    return max(
        (sum(rounded(b.size) for b in buffers if b.first <= t <= b.last) - savings.get(t, 0) for t in steps), default=0
    )


def rounded(size: int) -> int:
    """Up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def by_member(groups: Sequence[Sequence[Member]], offsets: Sequence[int]) -> dict[str, int]:
    """Offsets by buffer name."""
    return {m.name: int(at) for group, at in zip(groups, offsets, strict=True) for m in group}


def _grouped(buffers: Sequence[Buffer], aliases: Sequence[Sharing]) -> list[list[Member]] | None:
    """Those that lie in place together; None if two of them would be in use at once."""
    parent = {b.name: b.name for b in buffers}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for alias in aliases:
        parent[root(alias.output)] = root(alias.source)
    members: dict[str, list[Member]] = {}
    for b in buffers:
        members.setdefault(root(b.name), []).append(Member(b.name, rounded(b.size), b.first, b.last))
    pairs = {frozenset((a.output, a.source)) for a in aliases}
    for group in members.values():
        for one, other in itertools.combinations(group, 2):
            together = one.first <= other.last and other.first <= one.last
            if together and frozenset((one.name, other.name)) not in pairs:
                return None
    return list(members.values())
