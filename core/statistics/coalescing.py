"""Merging what sums over too few frames into its neighbours, so that every number of a file sums over enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from multigraft.statistics import entries
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.tally import Tally


def coalesced_days(days: Mapping[str, Tally], minimum: int) -> dict[str, Tally]:
    """One site's tallies by day; a day of fewer than ``minimum`` frames joins the next, the last one the one before."""
    kept: list[tuple[str, Tally]] = []
    for day in sorted(days):
        tally = days[day]
        if kept and kept[-1][1].frames < minimum:
            tally = kept.pop()[1].merge(tally)
        kept.append((day, tally))
    if len(kept) > 1 and kept[-1][1].frames < minimum:
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


def without_thin_sums(overall: Tally, outer: Collection[str], minimum: int) -> Tally:
    """All sums, without those that are of some frames only while these are fewer than ``minimum``.

    Args:
        overall: Sums over all frames; not changed.
        outer: Tensors whose ranges are of all frames; the others lie between the taps.
        minimum: Frames.
    """
    kept = overall.merge(Tally())
    if 0 < kept.count_of(entries.CROSSED) < minimum:
        kept.sums = {name: value for name, value in kept.sums.items() if not entries.is_cross_sum(name)}
        kept.counts = {name: value for name, value in kept.counts.items() if not entries.is_cross_count(name)}
    if 0 < kept.count_of(entries.INNER) < minimum:
        kept.lows = {name: value for name, value in kept.lows.items() if name in outer}
        kept.highs = {name: value for name, value in kept.highs.items() if name in outer}
        del kept.counts[entries.INNER]
    return kept
