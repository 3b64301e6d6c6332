"""One row a site and day: how much was seen, what the pictures were like, how sure the networks were, and drift."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from multigraft.converters.field.drift import SIGNIFICANT, compare, holm
from multigraft.converters.fleet.packing import unpacked
from multigraft.converters.fleet.parts import Row
from multigraft.converters.fleet.strangers import Features, Fleet, Means, Stranger, farthest, fleet_of, strangers
from multigraft.converters.report.field_report import extremes, sure_share
from multigraft.statistics import entries
from multigraft.statistics.tally import Tally
from multigraft.statistics.value_histogram import Counts
from multigraft.tensors.arrays import Array, Float64Array

UNIT = {
    "frames": "frames",
    "minibatches": "minibatches that drift is tested on",
    "files": "files that count",
    "brightness": "mean grey of the frames, 0 to 255",
    "dark": "share of frames with a mean grey below 16",
    "bright": "share of frames with a mean grey of 240 or more",
    "sharpness": "variance of the Laplacian, the middle of the frames",
    "drift": "distance from the fleet, in standard deviations of sites",
    "drift_of": "the group of features that is farthest: image, row or a network",
    "drift_p": "probability of that by chance, adjusted for all rows (Holm)",
    "change": "greatest difference of a feature from the day before, in standard deviations of minibatches",
    "change_p": "probability of that by chance, adjusted for all days (Holm)",
    "is_settled": "whether no later day of the site differs from the day before it",
    "is_strange": "whether the site differs from the rest, all days together",
}
"""Column to what it holds; ``sure_NETWORK`` is the share of frames with a top-1 margin above 0.9, ``entropy_NETWORK``
the mean entropy over its maximum."""


@dataclass
class Sites:
    """A row a site and day, in the order of sites and days.

    Attributes:
        site: Site of each row.
        day: Day of each row.
        columns: Name to a number per row; NaN where there is none.
        drift_of: Group that differs most, per row; empty where nothing was compared.
        names: Sites, in order.
        strange: Those that differ from the rest.
        is_compared: Whether there were sites enough to tell.
    """

    site: list[str] = field(default_factory=list)
    day: list[str] = field(default_factory=list)
    columns: dict[str, Float64Array] = field(default_factory=dict)
    drift_of: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    strange: list[Stranger] = field(default_factory=list)
    is_compared: bool = False


def sites_of(rows: Iterable[Row], networks: Sequence[str]) -> Sites:
    """The table.

    Memory: some hundred bytes a row and network, and some thousand bytes a site; rows are read one by one.

    Args:
        rows: What files say of sites and days, in the order of sites and days.
        networks: Names of the networks.
    """
    made = Sites()
    groups = (entries.IMAGE, entries.ROW, *networks)
    numbers: dict[str, array[float]] = {}
    of_days: dict[str, list[Features | None]] = {group: [] for group in groups}
    of_sites: dict[str, list[Features | None]] = {group: [] for group in groups}
    changes: dict[str, array[float]] = {group: array("d") for group in groups}
    effects: dict[str, array[float]] = {group: array("d") for group in groups}
    for site, days in _by_site(rows):
        whole = Tally()
        before: Tally | None = None
        for day, tally, files in days:
            made.site.append(site)
            made.day.append(day)
            for name, value in _facts(tally, files, networks).items():
                numbers.setdefault(name, array("d")).append(value)
            for group in groups:
                of_days[group].append(_without_scatter(Features.of(tally, group)))
                change = None if before is None else compare(before, tally, group)
                changes[group].append(np.nan if change is None else change.p)
                effects[group].append(np.nan if change is None else change.effect)
            whole, before = whole.merge(tally), tally
        made.names.append(site)
        for group in groups:
            of_sites[group].append(Features.of(whole, group))
    made.columns = {name: np.array(values) for name, values in numbers.items()}
    fleets = {group: fleet_of(Means.of(of_sites[group])) for group in groups}
    known = {group: fleet for group, fleet in fleets.items() if fleet is not None}
    made.is_compared = bool(known)
    if known:
        made.strange = strangers(
            made.names, {group: fleet.compare(Means.of(of_sites[group])) for group, fleet in known.items()}
        )
    _add_drift(made, known, of_days)
    _add_changes(
        made, np.stack([np.array(changes[g]) for g in groups]), np.stack([np.array(effects[g]) for g in groups])
    )
    strange = {one.site for one in made.strange}
    made.columns["is_strange"] = np.array([site in strange for site in made.site], float)
    return made


def _by_site(rows: Iterable[Row]) -> Iterator[tuple[str, Iterator[tuple[str, Tally, int]]]]:
    for site, of_site in itertools.groupby(rows, key=lambda row: row.site):
        yield site, _by_day(of_site)


def _by_day(rows: Iterable[Row]) -> Iterator[tuple[str, Tally, int]]:
    for day, of_day in itertools.groupby(rows, key=lambda row: row.day):
        whole, files = Tally(), 0
        for row in of_day:
            whole, files = whole.merge(Tally.from_arrays(unpacked(row.tally))), files + 1
        yield day, whole, files


def _without_scatter(features: Features | None) -> Features | None:
    return None if features is None else Features(features.minibatches, features.mean, np.zeros((1, 1)))


def _facts(tally: Tally, files: int, networks: Sequence[str]) -> dict[str, float]:
    facts = {"files": float(files), "frames": float(tally.frames), "minibatches": float(tally.minibatches)}
    brightness = tally.counts.get(entries.BRIGHTNESS)
    facts["brightness"] = _mean(brightness) * 256
    facts["dark"], facts["bright"] = extremes(brightness)
    facts["sharpness"] = _middle_sharpness(tally.counts.get(entries.SHARPNESS))
    for network in networks:
        facts[f"sure_{network}"] = sure_share(tally.counts.get(entries.margins(network)))
        facts[f"entropy_{network}"] = _mean(tally.counts.get(entries.entropies(network)))
    return facts


def _mean(counts: Counts | None) -> float:
    """Mean of a histogram of 0..1 in equal bins; NaN of an empty one."""
    if counts is None or not counts.sum():
        return float("nan")
    return float(((np.arange(len(counts)) + 0.5) * counts).sum() / counts.sum() / len(counts))


def _middle_sharpness(counts: Counts | None) -> float:
    """Median of a histogram with four bins per doubling of 1 + sharpness."""
    if counts is None or not counts.sum():
        return float("nan")
    place = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float(2 ** ((place + 0.5) / 4) - 1)


def _add_drift(made: Sites, fleets: dict[str, Fleet], of_days: dict[str, list[Features | None]]) -> None:
    rows = len(made.site)
    made.columns["drift"], made.columns["drift_p"] = np.full(rows, np.nan), np.full(rows, np.nan)
    made.drift_of = [""] * rows
    if not fleets or not rows:
        return
    compared = {}
    for group, fleet in fleets.items():
        places = of_days[group]
        size = next(len(one.mean) for one in places if one is not None)
        blank = np.full(size, np.nan)
        counts = np.array([0 if one is None else one.minibatches for one in places], float)
        means = np.array([blank if one is None else one.mean for one in places])
        compared[group] = fleet.compare(Means(counts, means, np.zeros((0, size, size))))
    made.columns["drift"], made.columns["drift_p"], made.drift_of = farthest(compared)


def _add_changes(made: Sites, p: Array, effects: Array) -> None:
    adjusted = holm(p)
    there = ~np.isnan(adjusted)
    made.columns["change"] = np.max(effects, axis=0, initial=-1.0, where=there)
    made.columns["change_p"] = np.min(adjusted, axis=0, initial=2.0, where=there)
    none = ~there.any(axis=0)
    made.columns["change"][none] = made.columns["change_p"][none] = np.nan
    settled = np.ones(len(made.site))
    for row in range(len(made.site) - 2, -1, -1):
        if made.site[row] == made.site[row + 1]:
            settled[row] = settled[row + 1] and not made.columns["change_p"][row + 1] < SIGNIFICANT
    made.columns["is_settled"] = settled
