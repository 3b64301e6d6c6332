"""Whether a file may be added up: it holds what collect writes, of these networks, within its share of every range.

What collect does not write would only make sums larger: a file of some kilobytes may unpack to many megabytes, and a
sum holds whatever one of its files holds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multigraft.converters.fleet.head import digest_of_subject
from multigraft.errors import InputError, MultigraftError
from multigraft.reading import printable
from multigraft.statistics import entries
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.subject import Subject
from multigraft.statistics.tally import Tally

MOST_BINS = 1024
"""Counts of a place's histogram; collect writes up to 64."""
MOST_FEATURES = 64
"""Features of a group that drift is tested on; collect writes up to 6."""
MOST_RANGES = 1 << 14
"""Tensors whose least and greatest values a file may hold."""

_SUM_BITS, _COUNT_BITS, _SIMILARITY_BITS = 60, 61, 2300
"""Of the ranges of exact sums, of counts and of sums of similarity, a bit less than there is."""

_AGAIN = "collect again"
_LARGEST_VALUE = float(np.finfo(np.float32).max)
_ROUNDING = 1e-6
"""Of products of float64, a minibatch."""


@dataclass(frozen=True)
class _Names:
    """What collect writes of some networks.

    Attributes:
        fixed: Arrays over all frames whose shapes follow from the taps, and were compared with them when the file was
            read.
        overall: Other arrays over all frames.
        place: Arrays of a site and day.
    """

    fixed: frozenset[str]
    overall: frozenset[str]
    place: frozenset[str]


def admit(statistics: Statistics, subject: str, share: int) -> str:
    """The form of a file that may be added up: names of arrays and their shapes, as JSON.

    Args:
        statistics: The file.
        subject: Digest of what all files are about.
        share: Files that there may be: each may fill one part in so many of a sum's range.

    Raises:
        InputError: It holds more than its share, lacks frames, contradicts itself, or holds what no collect writes.
    """
    if _subject_digest(statistics.subject) != subject:
        raise InputError("it is of other networks or settings than its manifest says", _AGAIN)
    names = _names(statistics.subject)
    tallies = (statistics.overall, *statistics.places.values())
    for tally in tallies:
        is_overall = tally is statistics.overall
        _check_names(tally, names.fixed | names.overall if is_overall else names.place, is_overall)
    _check_frames(statistics)
    if any(_is_beyond(tally, share) for tally in tallies) or any(
        abs(value) >> _SIMILARITY_BITS - share.bit_length()
        for sums in (*statistics.groups, *statistics.periods)
        for value in sums.integers
    ):
        raise InputError("it holds numbers that no camera gives, and that would fill a sum alone", _AGAIN)
    try:
        statistics.coalesced()
    except MultigraftError as error:
        raise InputError(error.problem, _AGAIN) from error
    form: dict[str, object] = {}
    for tally in tallies:
        for key, shape in _shapes(tally).items():
            if tally is statistics.overall and key in names.fixed:
                continue
            if form.setdefault(key, list(shape)) != list(shape):
                raise InputError(f"its arrays {printable(key.partition('/')[2])} are of two lengths", _AGAIN)
    if statistics.noise is not None:
        form["noise"] = repr(statistics.noise.bounds)
    return form_text(form)


def form_text(form: Mapping[str, object]) -> str:
    """A form as JSON; equal forms give equal text."""
    return json.dumps(form, sort_keys=True, separators=(",", ":"))


@functools.lru_cache(maxsize=4)
def _subject_digest(subject: Subject) -> str:
    return digest_of_subject(subject.to_json())


@functools.lru_cache(maxsize=4)
def _names(subject: Subject) -> _Names:
    taps = [tap.name for tap in subject.taps]
    networks = [network.name for network in subject.networks]
    of_one = entries.channel_sums, entries.channel_squares, entries.first_moments, entries.second_moments
    sums = {name(tap) for name in of_one for tap in taps}
    sums |= {entries.cross_moments(one, other) for one in taps for other in taps}
    counts = {entries.value_counts(tap) for tap in taps}
    seen = {entries.DETAILED, entries.CROPS}
    rows = {entries.cross_rows(tap) for tap in taps}
    single = seen | rows | {entries.INNER, entries.CROSSED, entries.DETAILED_CROPS}
    groups = (entries.IMAGE, entries.ROW, *networks)
    drift = {name(group) for name in (entries.drift_means, entries.drift_products) for group in groups}
    histograms = {entries.BRIGHTNESS, entries.SHARPNESS, entries.LEVEL, entries.ROUGHNESS}
    histograms |= {name(network) for name in (entries.margins, entries.entropies) for network in networks}
    return _Names(_keys(sums, counts), _keys({entries.BOUNDED}, single), _keys(drift, seen | histograms))


def _keys(sums: set[str], counts: set[str]) -> frozenset[str]:
    return frozenset({f"sum/{name}" for name in sums} | {f"count/{name}" for name in counts})


def _shapes(tally: Tally) -> dict[str, tuple[int, ...]]:
    sums = {f"sum/{name}": values.shape for name, values in tally.sums.items()}
    return sums | {f"count/{name}": counts.shape for name, counts in tally.counts.items()}


def _check_names(tally: Tally, known: frozenset[str], is_overall: bool) -> None:
    """Nothing that collect does not write, and nothing longer."""
    if odd := sorted(_shapes(tally).keys() - known):
        raise InputError(f"it holds {printable(odd[0])}, which collect does not write", _AGAIN)
    if len(tally.lows) > (MOST_RANGES if is_overall else 0):
        raise InputError(f"it holds ranges of {len(tally.lows):,} tensors", _AGAIN)
    if is_overall:
        return
    lengths = [counts.size for counts in tally.counts.values()]
    if max(lengths, default=0) > MOST_BINS:
        raise InputError(f"its histograms have {max(lengths):,} bins and may have {MOST_BINS:,}", _AGAIN)
    features = [max(values.shape, default=0) for values in tally.sums.values()]
    if max(features, default=0) > MOST_FEATURES:
        raise InputError(f"it tells {max(features):,} features of a place and may tell {MOST_FEATURES}", _AGAIN)


def _check_frames(statistics: Statistics) -> None:
    """Sites and days are of all frames and no others, and their numbers are such as so many frames give."""
    overall, places = statistics.overall, statistics.places.values()
    if (overall.frames, overall.minibatches) != (
        sum(tally.frames for tally in places), sum(tally.minibatches for tally in places)
    ):  # fmt: skip
        raise InputError("its sites and days are of another number of frames than its sums", _AGAIN)
    for tally in places:
        seen = max(tally.frames, tally.count_of(entries.CROPS))
        # Sums of int64 wrap around.
        if any(int(counts.max(initial=0)) > seen or int(counts.sum()) > seen for counts in tally.counts.values()):
            raise InputError(f"it counts more than the {seen:,} frames or crops of a site and day", _AGAIN)
        for name in tally.sums:
            group = name.removeprefix(entries.drift_means(""))
            if group != name and _is_impossible(tally, group):
                raise InputError(f"the features of {printable(group)} contradict their squares", _AGAIN)
    ranges = (*overall.lows.values(), *overall.highs.values())
    if any(abs(float(value)) > _LARGEST_VALUE for value in ranges):
        raise InputError("it holds a value that no float32 is", _AGAIN)


def _is_impossible(tally: Tally, group: str) -> bool:
    """Whether squares of features are below what their sums ask for (Cauchy and Schwarz)."""
    sums = tally.sums[entries.drift_means(group)].values()
    squares = np.diagonal(tally.sums[entries.drift_products(group)].values())
    least = sums**2 / max(1, tally.minibatches)
    return bool((squares < least - _ROUNDING * (1 + least)).any())


def _is_beyond(tally: Tally, share: int) -> bool:
    """Whether it holds more than its share of a range."""
    most_sum, most_count = (1 << bits - share.bit_length() for bits in (_SUM_BITS, _COUNT_BITS))
    sums = (values.to_array()[0] for values in tally.sums.values())
    return (
        max(tally.frames, tally.minibatches) > most_count
        or any(((high > most_sum) | (high < -most_sum)).any() for high in sums)
        or any(int(np.max(counts, initial=0)) > most_count for counts in tally.counts.values())
    )
