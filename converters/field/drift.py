"""Whether two sites, or two days of a site, saw the same: Hotelling's two-sample test on minibatch means.

Consecutive frames are alike, so frames are no independent sample; means over minibatches nearly are, as far as the
scene's memory is shorter than a minibatch (the method of batch means). Per minibatch a few features were summed with
their products: of a picture its brightness and sharpness, of a row its level and roughness, of each network four random
projections of its last tap's channel means and, for a classifier, margin and entropy. Under equal means

    F = (n - p - 1) / ((n - 2) p) * T2,   T2 = n1 n2 / n * d' S^-1 d

has an F distribution with p and n - p - 1 degrees of freedom (Hotelling, Ann. Math. Statist. 2, 1931), n = n1 + n2
minibatches, d the difference of the means, S the pooled covariance. Over all comparisons of a report p-values are
adjusted by Holm's method (Scand. J. Statist. 6, 1979).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from multigraft.statistics import entries
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Tally
from multigraft.tensors.arrays import Float64Array

SIGNIFICANT = 0.01
"""Adjusted p-values below it are called drift."""


@dataclass(frozen=True)
class Drift:
    """One comparison.

    Attributes:
        first: Site, or site and day.
        second: The same.
        of: ``image``, ``row`` or the name of a network.
        effect: Greatest difference of a feature's means, in standard deviations of minibatch means.
        f: The statistic.
        p: Its p-value.
        adjusted_p: After Holm's method.
        minibatches: How many the first and the second have.
    """

    first: str
    second: str
    of: str
    effect: float
    f: float
    p: float
    adjusted_p: float
    minibatches: tuple[int, int]


def find_drift(statistics: Statistics) -> list[Drift]:
    """All pairs of sites, and of each site every day against the one before; the least p-values first.

    Places with too few minibatches for the test are left out.
    """
    by_site: dict[str, list[tuple[str, Tally]]] = {}
    for (site, day), tally in sorted(statistics.places.items()):
        by_site.setdefault(site, []).append((day, tally))
    pairs = []
    whole = {site: _merged([tally for _, tally in days]) for site, days in by_site.items()}
    for first, second in itertools.combinations(whole, 2):
        pairs.append((first, whole[first], second, whole[second]))
    for site, days in by_site.items():
        for (day, before), (next_day, after) in itertools.pairwise(days):
            pairs.append((f"{site} {day}", before, f"{site} {next_day}", after))
    groups = [entries.IMAGE, entries.ROW, *(n.name for n in statistics.subject.networks)]
    comparisons = [
        result
        for first, a, second, b in pairs
        for group in groups
        if (result := compare(a, b, group, first, second)) is not None
    ]
    ordered = sorted(comparisons, key=lambda d: d.p)
    adjusted = holm(np.array([d.p for d in ordered])).tolist()
    return [dataclasses.replace(d, adjusted_p=p) for d, p in zip(ordered, adjusted, strict=True)]


def compare(a: Tally, b: Tally, group: str, first: str = "", second: str = "") -> Drift | None:
    """Test one group of features between two tallies; None where there are too few minibatches."""
    name, square = entries.drift_means(group), entries.drift_products(group)
    if name not in a.sums or name not in b.sums:
        return None
    counts = a.minibatches, b.minibatches
    total = sum(counts)
    means = [t.sums[name].values() / n for t, n in zip((a, b), counts, strict=True)]
    scatter = sum(t.sums[square].values() - n * np.outer(m, m) for t, n, m in zip((a, b), counts, means, strict=True))
    covariance = np.asarray(scatter) / max(1, total - 2)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
    # A feature that never changes (one grey level, a saturated output) tests nothing.
    moves = deviation > 1e-9 * np.maximum(1e-30, np.abs(means[0]) + np.abs(means[1]))
    size = int(moves.sum())
    if min(counts) < 2 or not size or total - size - 1 < 3:
        return None
    scale = deviation[moves]
    difference = (means[0] - means[1])[moves] / scale
    correlation = covariance[np.ix_(moves, moves)] / np.outer(scale, scale)
    distance = float(difference @ np.linalg.pinv(correlation, hermitian=True) @ difference)
    freedom = total - size - 1
    f = freedom / ((total - 2) * size) * counts[0] * counts[1] / total * distance
    p = float(stats.f.sf(f, size, freedom))
    return Drift(first, second, group, float(np.abs(difference).max()), f, p, p, counts)


def _merged(tallies: Sequence[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole = whole.merge(tally)
    return whole


def holm(p: Float64Array) -> Float64Array:
    """P-values of any shape, adjusted for their number by Holm's method; NaN stays."""
    flat = p.reshape(-1)
    order = np.argsort(flat, kind="stable")
    order = order[~np.isnan(flat[order])]
    adjusted = np.full(len(flat), np.nan)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, flat[order] * (len(order) - np.arange(len(order)))))
    return adjusted.reshape(p.shape)
