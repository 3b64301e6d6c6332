"""What was measured on a device, without labels and without keeping frames: the Statistics of ``NAME.mgstats``.

Everything in it is a sum, a count, a least or a greatest value over minibatches of frames, so that files merge: the
order and the grouping of merging change no bit. A fleet's files are one reduce::

    fleet = functools.reduce(operator.add, map(statistics_file.read, paths))

Held are, for the taps (the cut points of the original networks, channels last):

- HSIC terms of every pair of taps (:mod:`multigraft.statistics.similarity`), dealt out over :data:`GROUPS`
  groups in turn, from which a jackknife gives the precision of each CKA, and a second time over periods of doubling
  length, which show how it settled;
- sums and sums of squares per channel, ranges per tensor, histograms of values
  (:mod:`multigraft.statistics.value_histogram`);

and per site and day: brightness, sharpness, what an exit would have seen (top-1 margin, entropy), and the first and
second moments of a few features per minibatch, from which drift is tested.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from multigraft.errors import UsageError
from multigraft.statistics import entries
from multigraft.statistics.coalescing import (
    coalesced_days,
    coalesced_groups,
    coalesced_periods,
    fewest,
    without_thin_sums,
)
from multigraft.statistics.minimum_frames import MINIMUM_FRAMES
from multigraft.statistics.noise import Noise
from multigraft.statistics.release import Release
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.subject import Subject
from multigraft.statistics.tally import Tally, Terms
from multigraft.statistics.value_histogram import percentile
from multigraft.tensors.arrays import Float64Array

GROUPS = 8
"""Groups of the jackknife."""

STUDENT_T = 2.365
"""97.5 % point of Student's t with GROUPS - 1 = 7 degrees of freedom (any table)."""

Place = tuple[str, str]
"""Site and day (UTC, YYYY-MM-DD)."""


@dataclass(frozen=True)
class Minibatch:
    """What one minibatch adds.

    Attributes:
        overall: What :attr:`Statistics.overall` gains.
        local: What the tally of the site and day gains.
        similarity: Sums over this minibatch alone.
        is_rest: Whether it is what was left at the end of a source. It counts to the group and the period of the
            first minibatch that it is added to: alone it may be of few frames.
    """

    overall: Terms
    local: Terms
    similarity: SimilaritySums
    is_rest: bool = False


class Statistics:
    """Mergeable statistics of one subject.

    Args:
        subject: What is measured.
        minimum_frames: A file is written only if every number in it sums over at least so many frames.

    Attributes:
        overall: Sums over all frames.
        places: The same per site and day.
        groups: Similarity, minibatches dealt out in turn.
        periods: Similarity by time: period ``k`` starts after ``minimum_frames * (2**k - 1)`` frames of a run.
        releases: Of which stores it is which release; empty for statistics that no store released.
        noise: What was added to their sums; None where nothing was.
        is_released: Whether all of it came out of files, which stores released; only then may it become a file.
    """

    def __init__(self, subject: Subject, minimum_frames: int = MINIMUM_FRAMES) -> None:
        if minimum_frames < 2:
            raise UsageError(f"a minimum of {minimum_frames} frames", "give 2 or more")
        self.subject = subject
        self.minimum_frames = minimum_frames
        self.overall = Tally()
        self.places: dict[Place, Tally] = {}
        self.groups = [self._no_similarity() for _ in range(GROUPS)]
        self.periods: list[SimilaritySums] = []
        self.releases: dict[str, Release] = {}
        self.noise: Noise | None = None
        self.is_released = False

    def _no_similarity(self) -> SimilaritySums:
        return SimilaritySums([tap.name for tap in self.subject.taps])

    @property
    def frames(self) -> int:
        """Frames summed over; of statistics of crops, those that at least one crop came from."""
        return self.overall.frames

    @property
    def detailed_frames(self) -> int:
        """Frames that channel moments, ranges and histograms of values are of."""
        return self.overall.count_of(entries.DETAILED, self.frames)

    @property
    def crops(self) -> int:
        """Crops that came from the frames; of whole frames as many as frames."""
        return self.overall.count_of(entries.CROPS, self.frames)

    @property
    def seen(self) -> str:
        """How much was seen, for people."""
        if not self.subject.crops:
            return f"{self.frames:,} frames"
        return f"{self.crops:,} crops of what {self.subject.crops[-1].task} found in {self.frames:,} frames"

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites, in order of their names."""
        return tuple(sorted({site for site, _ in self.places}))

    def add(self, minibatch: Minibatch, place: Place, frames_before: int = 0, minibatches_before: int = 0) -> None:
        """Add a minibatch of one run; minibatches of a run have to come in their order.

        Args:
            minibatch: The next one.
            place: Where and when it was taken.
            frames_before: Frames of the run that are not in these statistics, as they came before them.
            minibatches_before: The same for minibatches.

        Raises:
            UsageError: It is of another subject.
            InputError: A sum would leave its range.
        """
        number = minibatches_before + self.overall.minibatches
        frames = frames_before + self.frames
        if minibatch.is_rest and self.overall.minibatches:
            number, frames = minibatches_before, frames_before
        period = (frames // self.minimum_frames + 1).bit_length() - 1
        group = number % GROUPS
        similarity = self.groups[group].merge(minibatch.similarity)
        local = self.places.get(place, Tally()).merge(Tally())
        local.add(minibatch.local)
        self.is_released = False
        self.overall.add(minibatch.overall)
        self.places[place], self.groups[group] = local, similarity
        while len(self.periods) <= period:
            self.periods.append(self._no_similarity())
        self.periods[period] = self.periods[period].merge(minibatch.similarity)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both; exactly associative and commutative.

        Raises:
            UsageError: They are of different subjects, or both hold frames of one store.
        """
        if self.subject != other.subject:
            raise UsageError(
                "statistics of different networks or settings cannot be merged", "merge runs of the same taps bundle"
            )
        if twice := self.releases.keys() & other.releases.keys():
            raise UsageError(
                f"both statistics hold frames of store {min(twice)}, which would count twice",
                "merge each store's newest release once",
            )
        merged = Statistics(self.subject, min(self.minimum_frames, other.minimum_frames))
        merged.releases = self.releases | other.releases
        merged.is_released = self.is_released and other.is_released
        merged.noise = self.noise.merge(other.noise) if self.noise and other.noise else self.noise or other.noise
        merged.overall = self.overall.merge(other.overall)
        for place in self.places.keys() | other.places.keys():
            merged.places[place] = self.places.get(place, Tally()).merge(other.places.get(place, Tally()))
        merged.groups = [a.merge(b) for a, b in zip(self.groups, other.groups, strict=True)]
        longer, shorter = sorted((self.periods, other.periods), key=len, reverse=True)
        merged.periods = [a.merge(b) for a, b in zip(longer, shorter, strict=False)] + longer[len(shorter) :]
        return merged

    def __add__(self, other: Statistics) -> Statistics:
        return self.merge(other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        return self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]  # it changes with every add

    def _state(self) -> tuple[object, ...]:
        sums = self.overall, self.places, self.groups, self.periods
        return self.subject, self.minimum_frames, sums, self.releases, self.noise

    def similarity(self) -> SimilaritySums:
        """Similarity over all frames."""
        return functools.reduce(operator.add, self.groups)

    def precision(self) -> Float64Array | None:
        """Taps x taps: half width of the 95 % interval of each unbiased CKA, by a jackknife over the groups.

        None while a group has no minibatch.
        """
        if not all(group.minibatches for group in self.groups):
            return None
        whole = self.similarity()
        without = np.stack([(whole - group).unbiased_cka(is_clipped=False) for group in self.groups])
        variance = (GROUPS - 1) / GROUPS * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
        half_width: Float64Array = STUDENT_T * np.sqrt(variance)
        return half_width

    def history(self) -> list[SimilaritySums]:
        """Similarity after 1, 2, 3... periods: how it settled; in a merged file, when each run had reached that one."""
        return list(itertools.accumulate(self.periods, SimilaritySums.merge))

    def ranges(self, percent: float = 100.0) -> dict[str, tuple[float, float]]:
        """Tensor to its least and greatest value.

        Args:
            percent: Below 100: the range that holds that part of the values, where a histogram was kept.
        """
        ranges = {}
        for name, low in self.overall.lows.items():
            least, greatest = float(low), float(self.overall.highs[name])
            counts = self.overall.counts.get(entries.value_counts(name))
            if counts is not None and percent < 100:
                tail = (100 - percent) / 2
                least = max(least, percentile(counts, tail))
                greatest = min(greatest, percentile(counts, 100 - tail))
            ranges[name] = (least, greatest)
        return ranges

    def channel_moments(self, tap: str) -> tuple[Float64Array, Float64Array]:
        """Mean and variance of each channel of a tap over frames and positions.

        Raises:
            UsageError: There is no such tap, or its moments are not held, as where noise was added.
        """
        shape = next((t.shape for t in self.subject.taps if t.name == tap), None)
        if shape is None:
            raise UsageError(f"the statistics hold no tap {tap!r}", "name a cut point")
        if entries.channel_sums(tap) not in self.overall.sums:
            raise UsageError(f"the statistics hold no moments of tap {tap!r}", "collect some without noise")
        looked_at = self.overall.count_of(entries.DETAILED_CROPS, self.detailed_frames)
        positions = max(1, looked_at * math.prod(shape[:-1]))
        mean: Float64Array = self.overall.sums[entries.channel_sums(tap)].values() / positions
        square: Float64Array = self.overall.sums[entries.channel_squares(tap)].values() / positions
        return mean, np.maximum(square - mean**2, 0)

    @property
    def outer(self) -> set[str]:
        """Tensors whose ranges are of all frames or all detailed ones: taps, inputs and outputs."""
        outer = {tap.name for tap in self.subject.taps}
        return outer | {name for network in self.subject.networks for name in (network.input, *network.outputs)}

    def coalesced(self) -> Statistics:
        """The same sums, none over fewer frames than the minimum; see :mod:`multigraft.statistics.coalescing`.

        Raises:
            UsageError: All frames of a site together are fewer than the minimum.
        """
        minimum = self.minimum_frames
        whole = Statistics(self.subject, minimum)
        whole.releases = dict(self.releases)
        whole.noise = self.noise
        whole.overall = without_thin_sums(self.overall, self.outer, minimum)
        for site in self.sites:
            days = {day: tally for (of_site, day), tally in self.places.items() if of_site == site}
            whole.places |= {(site, day): tally for day, tally in coalesced_days(days, minimum).items()}
        groups = coalesced_groups(self.groups, minimum)
        whole.groups = groups + [self._no_similarity() for _ in range(GROUPS - len(groups))]
        whole.periods = coalesced_periods(self.periods, minimum)
        whole.check_privacy()
        return whole

    @property
    def inner_frames(self) -> int:
        """Frames that ranges of tensors between the taps are of."""
        return self.overall.count_of(entries.INNER)

    @property
    def crossed_frames(self) -> int:
        """Frames that products of channels between taps are of."""
        return self.overall.count_of(entries.CROSSED)

    def cross_rows(self, tap: str) -> int:
        """Positions, of all :attr:`crossed_frames` together, that a tap's :meth:`cross_moments` sum over."""
        return self.overall.count_of(entries.cross_rows(tap))

    def cross_moments(self, first: str, second: str) -> Float64Array | None:
        """Sum over :meth:`cross_rows` of the products of two taps' channels; None if not kept.

        Equal names give the second moments within that tap.
        """
        sums = self.overall.sums
        if first == second:
            within = sums.get(entries.second_moments(first))
            return None if within is None else within.values()
        if (between := sums.get(entries.cross_moments(first, second))) is not None:
            return between.values()
        reverse = sums.get(entries.cross_moments(second, first))
        return None if reverse is None else reverse.values().T

    def check_privacy(self) -> None:
        """Refuse if a number sums over fewer frames than the minimum.

        Raises:
            UsageError: One does.
        """
        cells = [self.detailed_frames, *(fewest(t) for t in self.places.values())]
        cells += [s.frames for s in (*self.groups, *self.periods) if s.frames]
        if (least := min(cells)) < self.minimum_frames:
            raise UsageError(
                f"the statistics hold sums over {least} frames, fewer than the minimum of {self.minimum_frames}",
                "collect more frames",
            )


def combine(parts: Iterable[Statistics]) -> Statistics:
    """All parts merged.

    Raises:
        UsageError: There is none, or they are of different subjects.
    """
    runs = list(parts)
    if not runs:
        raise UsageError("there are no statistics to combine", "name at least one file")
    return functools.reduce(operator.add, runs)
