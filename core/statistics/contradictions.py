"""Whether the parts of statistics that came in a file fit each other, before anybody computes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.statistics import entries
from multigraft.statistics.noise import length_of
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Tally
from multigraft.statistics.value_histogram import BINS

_SINGLE = (entries.DETAILED, entries.INNER, entries.CROSSED, entries.CROPS, entries.DETAILED_CROPS)
_MEANS, _PRODUCTS = entries.drift_means(""), entries.drift_products("")


def refuse_contradictions(statistics: Statistics) -> None:
    """Check names, shapes and signs of everything.

    Raises:
        ValueError: Something contradicts something else.
    """
    subject = statistics.subject
    taps = [tap.name for tap in subject.taps]
    if any(sums.taps != tuple(taps) for sums in (*statistics.groups, *statistics.periods)):
        raise ValueError("its similarity is of other taps")
    if any(min(sums.frames, sums.minibatches) < 0 for sums in (*statistics.groups, *statistics.periods)):
        raise ValueError("its similarity is over fewer frames than none")
    tallies = (statistics.overall, *statistics.places.values())
    for tally in tallies:
        _check_tally(tally)
    if subject.crops and statistics.crops < statistics.frames:
        raise ValueError("it holds fewer crops than frames that they come from")
    _check_drift(tallies)
    _check_detailed(statistics.overall, taps)
    sums = statistics.overall.sums
    if (noise := statistics.noise) is not None:
        if list(noise.bounds) != [tap for tap in taps if tap in noise.bounds] or noise.frames > statistics.frames:
            raise ValueError("its noise is of other taps or frames")
        if entries.BOUNDED not in sums or sums[entries.BOUNDED].shape != (length_of(noise.bounds),):
            raise ValueError("its noise is on other sums")
    for tap in subject.taps:
        for name in (entries.channel_sums(tap.name), entries.channel_squares(tap.name)):
            if name in sums and sums[name].shape != tap.shape[-1:]:
                raise ValueError(f"{name} is not of the tap's channels")
    channels = {tap.name: tap.shape[-1:] for tap in subject.taps}
    for one, first in channels.items():
        for name, shape in (
            (entries.first_moments(one), first),
            (entries.second_moments(one), first * 2),
            *((entries.cross_moments(one, other), first + second) for other, second in channels.items()),
        ):
            if name in sums and sums[name].shape != shape:
                raise ValueError(f"{name} is not of the taps' channels")


def _check_drift(tallies: Sequence[Tally]) -> None:
    """Features and their products come together, and are the same features everywhere."""
    lengths: dict[str, int] = {}
    for sums in (tally.sums for tally in tallies):
        means = {name.removeprefix(_MEANS) for name in sums if name.startswith(_MEANS)}
        products = {name.removeprefix(_PRODUCTS) for name in sums if name.startswith(_PRODUCTS)}
        if odd := means ^ products:
            raise ValueError(f"it holds half of the features of {min(odd)}")
        for name in means:
            shape = sums[entries.drift_means(name)].shape
            if len(shape) != 1 or sums[entries.drift_products(name)].shape != shape * 2:
                raise ValueError(f"the features of {name} are none")
            if lengths.setdefault(name, shape[0]) != shape[0]:
                raise ValueError(f"the features of {name} are of two kinds")


def _check_detailed(overall: Tally, taps: Sequence[str]) -> None:
    """A detailed minibatch adds moments and a histogram of every tap."""
    held = [
        [tap for tap in taps if entry(tap) in there]
        for entry, there in (
            (entries.channel_sums, overall.sums),
            (entries.channel_squares, overall.sums),
            (entries.value_counts, overall.counts),
        )
    ]
    if any(part not in ([], list(taps)) for part in held) or any(part != held[0] for part in held):
        raise ValueError("it holds moments and histograms of some taps alone")
    if not held[0] and any(tap in overall.lows for tap in taps):
        raise ValueError("it holds ranges of taps without their histograms")


def _check_tally(tally: Tally) -> None:
    if tally.lows.keys() != tally.highs.keys():
        raise ValueError("it holds a least value without a greatest")
    for name, low in tally.lows.items():
        high = tally.highs[name]
        if low.shape != () or high.shape != () or not -np.inf < low <= high < np.inf:
            raise ValueError(f"the range of {name} is none")
    for name, counts in tally.counts.items():
        if name in _SINGLE:
            fits = counts.size == 1
        elif name.startswith(entries.value_counts("")):
            fits = counts.shape == (BINS,)
        else:
            fits = counts.ndim <= 1
        if not fits or (counts < 0).any():
            raise ValueError(f"the counts of {name} are none")
