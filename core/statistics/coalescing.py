"""Merging what sums over too few frames into its neighbours, so that every number of a file sums over enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from multigraft.statistics import entries
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.tally import Tally


def coalesced_days(days: Mapping[str, Tally], minimum: int) -> dict[str, Tally]:
    """One site's tallies by day; a day of fewer than ``minimum`` frames joins the next, the last one the one before.

    What counts is the frames that its numbers are of, see :func:`fewest`.
    """
    kept: list[tuple[str, Tally]] = []
    for day in sorted(days):
        tally = days[day]
        if kept and fewest(kept[-1][1]) < minimum:
            tally = kept.pop()[1].merge(tally)
        kept.append((day, tally))
    if len(kept) > 1 and fewest(kept[-1][1]) < minimum:
        last = kept.pop()[1]
        kept[-1] = kept[-1][0], kept[-1][1].merge(last)
    return dict(kept)


def coalesced_groups(groups: Sequence[SimilaritySums], minimum: int) -> list[SimilaritySums]:
    """The jackknife's groups, merged by halves until none has some frames but fewer than ``minimum``."""
    merged = list(groups)
    while len(merged) > 1 and any(0 < group.frames < minimum for group in merged):
        half = len(merged) // 2
        merged = [merged[i].merge(merged[i + half]) for i in range(half)]
    return merged


def coalesced_periods(periods: Sequence[SimilaritySums], minimum: int) -> list[SimilaritySums]:
    """The periods; a last one of fewer than ``minimum`` frames joins the one before."""
    merged = list(periods)
    while len(merged) > 1 and merged[-1].frames < minimum:
        last = merged.pop()
        merged[-1] = merged[-1].merge(last)
    return merged


def fewest(tally: Tally) -> int:
    """The fewest frames that a number of a place sums over: drift is tested on frames looked at in detail alone."""
    return min(tally.frames, tally.count_of(entries.DETAILED, tally.frames))


def without_thin_sums(overall: Tally, outer: Collection[str], minimum: int) -> Tally:
    """All sums, without those that are of some frames only while these are fewer than ``minimum``.

    Args:
        overall: Sums over all frames; not changed.
        outer: Tensors whose ranges are of all frames; the others lie between the taps.
        minimum: Frames.
    """
    return split_thin_sums(overall, outer, minimum)[0]


def split_thin_sums(overall: Tally, outer: Collection[str], minimum: int) -> tuple[Tally, Tally]:
    """What :func:`without_thin_sums` keeps, and what it leaves out; merged they are ``overall``.

    Args:
        overall: As there.
        outer: As there.
        minimum: Frames.
    """
    kept, thin = overall.merge(Tally()), Tally()
    if 0 < kept.count_of(entries.CROSSED) < minimum:
        thin.sums = {name: value for name, value in kept.sums.items() if entries.is_cross_sum(name)}
        thin.counts = {name: value for name, value in kept.counts.items() if entries.is_cross_count(name)}
        kept.sums = {name: value for name, value in kept.sums.items() if name not in thin.sums}
        kept.counts = {name: value for name, value in kept.counts.items() if name not in thin.counts}
    if 0 < kept.count_of(entries.INNER) < minimum:
        thin.lows = {name: value for name, value in kept.lows.items() if name not in outer}
        thin.highs = {name: value for name, value in kept.highs.items() if name not in outer}
        thin.counts[entries.INNER] = kept.counts.pop(entries.INNER)
        kept.lows = {name: value for name, value in kept.lows.items() if name in outer}
        kept.highs = {name: value for name, value in kept.highs.items() if name in outer}
    return kept, thin
