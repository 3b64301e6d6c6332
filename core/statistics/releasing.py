"""What may be added to a file that was released before, so that no subtraction gives sums over few frames.

A release is the one before and one *block* per cell. A cell is what numbers sum over: all frames, those looked at in
detail, a day, a group of the jackknife, a period. Every block is of the minimum number of frames or more, or empty. So
the files of all releases together hold sums of whole blocks, and whatever is added to or subtracted from each other,
there are sums of whole blocks again.

Groups and periods hold the same quantity twice, dealt out in two ways. Their blocks could be subtracted from each
other, too: what a group and a period of one release share is a block where every minibatch alone is of the minimum;
else all of a release is one period, of which each group holds a part.

Products of channels and ranges between the taps are of some frames only. They stay as they were released until there
are enough for a block of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.errors import UsageError
from multigraft.statistics import entries
from multigraft.statistics.coalescing import coalesced_days, coalesced_groups, fewest, split_thin_sums
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import GROUPS, Statistics


@dataclass(frozen=True)
class Missing:
    """What stands against a release.

    Attributes:
        cell: The cell that lacks most, for people.
        frames: How many frames of that cell are missing.
    """

    cell: str
    frames: int


def missing(since: Statistics) -> Missing | None:
    """What ``since`` lacks to become part of a release; None where nothing is missing.

    Args:
        since: What was added since the last release.
    """
    minimum = since.minimum_frames
    cells = {"all": since.frames, entries.DETAILED: since.overall.count_of(entries.DETAILED, since.frames)}
    # Of the last few crops of a minibatch no similarity is computed.
    cells["compared"] = sum(group.frames for group in since.groups)
    for site in since.sites:
        tallies = [tally for (of_site, _), tally in since.places.items() if of_site == site]
        cells[f"of site {site}"] = sum(map(fewest, tallies))
    lacks = {cell: minimum - frames for cell, frames in cells.items() if frames < minimum}
    return max((Missing(cell, frames) for cell, frames in lacks.items()), key=lambda m: m.frames, default=None)


def advanced(released: Statistics | None, since: Statistics, least: int) -> tuple[Statistics, Statistics]:
    """The next release, and what stays behind for a later one.

    Args:
        released: The last release; None before the first.
        since: What was added since; groups and periods as they are numbered in the whole run.
        least: Frames of the smallest minibatch in it.

    Raises:
        UsageError: Frames are missing; see :func:`missing`.
    """
    if (lack := missing(since)) is not None:
        raise UsageError(f"{lack.frames} more frames ({lack.cell}) are needed for a release", "collect more frames")
    minimum = since.minimum_frames
    before = released or Statistics(since.subject, minimum)
    block = Statistics(since.subject, minimum)
    rest = Statistics(since.subject, minimum)
    block.overall, rest.overall = split_thin_sums(since.overall, since.outer, minimum)
    for site in since.sites:
        days = {day: tally for (of_site, day), tally in since.places.items() if of_site == site}
        block.places |= {(site, day): tally for day, tally in coalesced_days(days, minimum).items()}
    block.groups = _dealt(since.groups, before.groups, minimum)
    block.periods = since.periods if least >= minimum else _one(since.periods, len(before.periods))
    return before.merge(block), rest


def _dealt(since: list[SimilaritySums], before: list[SimilaritySums], minimum: int) -> list[SimilaritySums]:
    """The groups' blocks; those that had to be merged go where there are fewest frames."""
    if not any(0 < group.frames < minimum for group in since):
        return since
    dealt = [SimilaritySums(since[0].taps) for _ in range(GROUPS)]
    places = sorted(range(GROUPS), key=lambda number: before[number].frames)
    for place, part in zip(places, coalesced_groups(since, minimum), strict=False):
        dealt[place] = part
    return dealt


def _one(periods: list[SimilaritySums], before: int) -> list[SimilaritySums]:
    """All in one period, behind those of before as far as the run's own numbers go."""
    if not periods:
        return []
    joined = SimilaritySums(periods[0].taps)
    for period in periods:
        joined = joined.merge(period)
    return [*(SimilaritySums(joined.taps) for _ in range(min(before, len(periods) - 1))), joined]
