"""Which sites differ from all others: a two-sample test of each site against the rest, on means of minibatches.

No two cameras see the same, so a test of equal means would name every site that has seen enough. Sites are a sample
themselves. For features ``x`` (those of :mod:`multigraft.converters.field.drift`), the mean of site ``i`` over its
``n_i`` minibatches is taken to be

    x_i ~ N(mu, B + W / n_i)

with ``B`` how sites differ and ``W`` how minibatches of one site do. ``W`` is pooled within sites. ``mu`` and ``B`` are
those of the middle of the fleet, so that strange sites do not hide each other: the minimum covariance determinant
(Rousseeuw and Van Driessen, Technometrics 41, 1999), from one start at medians and median absolute deviations, then
reweighted until the squared distances have the mean that they should. With ``W`` whitened and ``B`` diagonal
(``b_k``) the distance of a site, and of a day of one, is

    d2 = sum z_k^2 / (b_k + 1 / n_i),   F = d2 m (m - p) / ((m + 1) (m - 1) p)

and F has an F distribution with p and m - p degrees of freedom (one observation against m others). Of all sites and
groups of features p-values are adjusted by Holm's method: the chance that any site is named that is like the others is
:data:`SIGNIFICANT` at most.

What is assumed: that sites which belong together differ by a normal distribution. Where they are of several kinds
(indoors and out), the kind of less than half is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import stats

from multigraft.converters.field.drift import SIGNIFICANT, holm
from multigraft.statistics import entries
from multigraft.statistics.tally import Tally
from multigraft.tensors.arrays import Float64Array

LEAST_SITES = 50
"""Fewer tell too little of how sites differ."""

_SITES_PER_FEATURE = 8
_ROUNDS, _SETTLING, _HALVINGS = 100, 10, 60
_WEIGHTED = 0.975
"""Part of normal sites that count once the middle is known."""
_UNMOVED = 1e-9


@dataclass(frozen=True)
class Features:
    """Of one place.

    Attributes:
        minibatches: How many.
        mean: Features.
        scatter: Features x features: sum over minibatches of the products of what differs from the mean.
    """

    minibatches: int
    mean: Float64Array
    scatter: Float64Array

    @classmethod
    def of(cls, tally: Tally, group: str) -> Self | None:
        """Those of a group, such as ``image``; None where there are none."""
        sums = tally.sums.get(entries.drift_means(group))
        if sums is None or not tally.minibatches:
            return None
        mean = sums.values() / tally.minibatches
        products = tally.sums[entries.drift_products(group)].values()
        return cls(tally.minibatches, mean, products - tally.minibatches * np.outer(mean, mean))


@dataclass(frozen=True)
class Means:
    """The features of one group, of one or many places.

    Attributes:
        minibatches: Places.
        means: Places x features.
        scatter: Places x features x features: sums over minibatches of the products of what differs from the mean.
    """

    minibatches: Float64Array
    means: Float64Array
    scatter: Float64Array

    @classmethod
    def of(cls, features: Sequence[Features | None]) -> Self:
        """Those of places; one without such features has 0 minibatches."""
        size = next((len(one.mean) for one in features if one is not None), 0)
        made = cls(np.zeros(len(features)), np.zeros((len(features), size)), np.zeros((len(features), size, size)))
        for place, one in enumerate(features):
            if one is not None:
                made.minibatches[place] = one.minibatches
                made.means[place] = one.mean
                made.scatter[place] = one.scatter
        return made


@dataclass(frozen=True)
class Fleet:
    """What the sites of a fleet have in common.

    Attributes:
        centre: Features: the middle.
        moves: Features that differ at all.
        whitening: Features that move x the same: what makes ``W`` the identity and ``B`` diagonal.
        between: ``b_k``.
        sites: Sites that this is of.
    """

    centre: Float64Array
    moves: npt.NDArray[np.bool_]
    whitening: Float64Array
    between: Float64Array
    sites: int

    def compare(self, places: Means) -> tuple[Float64Array, Float64Array]:
        """Effect and p-value of each place; NaN for one without minibatches.

        The effect is the distance in standard deviations of places of as many minibatches: the root of ``d2 / p``.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (places.means - self.centre)[:, self.moves] @ self.whitening
            squares = (z**2 / (self.between + 1 / places.minibatches[:, None])).sum(axis=1)
        squares[places.minibatches == 0] = np.nan
        size, m = int(self.moves.sum()), self.sites
        p = stats.f.sf(squares * m * (m - size) / ((m + 1) * (m - 1) * size), size, m - size)
        return np.sqrt(squares / size), p


def fleet_of(sites: Means) -> Fleet | None:
    """What sites have in common; None where there are too few, or where nothing moves."""
    there = sites.minibatches > 0
    x, n, scatter = sites.means[there], sites.minibatches[there], sites.scatter[there]
    freedom = (n - 1).sum()
    if len(x) < LEAST_SITES or freedom < 1 or not x.shape[1]:
        return None
    centre = np.median(x, axis=0)
    spread = 1.4826 * np.median(np.abs(x - centre), axis=0)
    within = scatter.sum(axis=0) / freedom
    scale = np.abs(centre) + np.abs(x).max(axis=0)
    moves = (spread > _UNMOVED * scale) & (np.sqrt(np.maximum(np.diag(within), 0)) > _UNMOVED * scale)
    size = int(moves.sum())
    if not size or len(x) < max(LEAST_SITES, _SITES_PER_FEATURE * size):
        return None
    x = x[:, moves]
    kept = _middle(x, centre[moves], spread[moves])
    middle, covariance = x[kept].mean(axis=0), np.atleast_2d(np.cov(x[kept].T)) * _wider(kept.mean(), size)
    distance = _distances(x, middle, covariance)
    # The consistency above is of many sites; of few, what it lacks is taken from the median.
    distance *= stats.chi2.ppf(0.5, size) / np.median(distance)
    kept = distance <= stats.chi2.ppf(_WEIGHTED, size)
    middle = x[kept].mean(axis=0)
    covariance = np.atleast_2d(np.cov(x[kept].T)) * _wider(_WEIGHTED, size)
    pooled = scatter[kept][:, moves][:, :, moves].sum(axis=0) / max(1.0, (n[kept] - 1).sum())
    values, vectors = np.linalg.eigh(pooled)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-12 * values.max()))
    _, turn = np.linalg.eigh(whitening.T @ covariance @ whitening)
    whitening = whitening @ turn
    between, middle = _settled(x @ whitening, n, middle @ whitening)
    whole = centre.copy()
    whole[moves] = middle @ np.linalg.inv(whitening)
    return Fleet(whole, moves, whitening, between, int(kept.sum()))


def _settled(z: Float64Array, n: Float64Array, middle: Float64Array) -> tuple[Float64Array, Float64Array]:
    """``b_k`` and the middle, by what sites of few and of many minibatches tell: their variances differ.

    Args:
        z: Sites x features, whitened.
        n: Minibatches of each site.
        middle: A first one.
    """
    size = z.shape[1]
    expected = 1 / _wider(_WEIGHTED, size)
    between = np.median((z - middle) ** 2, axis=0) / stats.chi2.ppf(0.5, 1)
    for _ in range(_SETTLING):
        weight = 1 / (between + 1 / n[:, None])
        kept = ((z - middle) ** 2 * weight).sum(axis=1) <= stats.chi2.ppf(_WEIGHTED, size)
        middle = (z[kept] * weight[kept]).sum(axis=0) / weight[kept].sum(axis=0)
        squares = (z[kept] - middle) ** 2
        low, high = np.zeros(size), squares.max(axis=0) / expected + 1
        for _ in range(_HALVINGS):
            half = (low + high) / 2
            is_wide = (squares / (half + 1 / n[kept, None])).mean(axis=0) < expected
            low, high = np.where(is_wide, low, half), np.where(is_wide, half, high)
        between = low
    return between, middle


def _middle(x: Float64Array, centre: Float64Array, spread: Float64Array) -> npt.NDArray[np.bool_]:
    """The half of the sites with the least determinant of their covariance, from one start."""
    half = (len(x) + x.shape[1] + 1) // 2
    kept = _nearest((((x - centre) / spread) ** 2).sum(axis=1), half)
    for _ in range(_ROUNDS):
        distance = _distances(x, x[kept].mean(axis=0), np.atleast_2d(np.cov(x[kept].T)))
        nearer = _nearest(distance, half)
        if (nearer == kept).all():
            break
        kept = nearer
    return kept


def _nearest(distance: Float64Array, count: int) -> npt.NDArray[np.bool_]:
    kept = np.zeros(len(distance), bool)
    kept[np.argsort(distance, kind="stable")[:count]] = True
    return kept


def _distances(x: Float64Array, centre: Float64Array, covariance: Float64Array) -> Float64Array:
    away = x - centre
    distances: Float64Array = np.einsum("ij,jk,ik->i", away, np.linalg.pinv(covariance, hermitian=True), away)
    return distances


def _wider(part: float, size: int) -> float:
    """How much wider a normal distribution is than its middle (Croux and Haesbroeck, J. Multivar. Anal. 71, 1999)."""
    return float(part / stats.chi2.cdf(stats.chi2.ppf(part, size), size + 2)) if part < 1 else 1.0


def farthest(groups: Mapping[str, tuple[Float64Array, Float64Array]]) -> tuple[Float64Array, Float64Array, list[str]]:
    """Effect, adjusted p-value and group of the least p-value of each place; NaN and empty where nothing was compared.

    Args:
        groups: Group of features to effect and p-value of each place.
    """
    adjusted = holm(np.stack([p for _, p in groups.values()]))
    effects = np.stack([effect for effect, _ in groups.values()])
    # Where several are 0 to the last bit, the farthest counts.
    order = np.lexsort((-np.nan_to_num(effects, nan=-1.0), np.nan_to_num(adjusted, nan=2.0)), axis=0)[0]
    places = np.arange(adjusted.shape[1])
    p = adjusted[order, places]
    names = list(groups)
    return effects[order, places], p, ["" if np.isnan(v) else names[i] for i, v in zip(order, p, strict=True)]


@dataclass(frozen=True)
class Stranger:
    """A site that differs from the rest.

    Attributes:
        site: Site.
        of: The group of features that differs most: ``image``, ``row`` or a network.
        effect: How far, in standard deviations of sites.
        p: After Holm's method.
    """

    site: str
    of: str
    effect: float
    p: float


def strangers(sites: Sequence[str], groups: Mapping[str, tuple[Float64Array, Float64Array]]) -> list[Stranger]:
    """Sites that differ, the farthest first.

    Args:
        sites: Their names.
        groups: Group of features to effect and p-value of each site.
    """
    effects, p, names = farthest(groups)
    places = zip(sites, names, effects.tolist(), p.tolist(), strict=True)
    found = [Stranger(*place) for place in places if place[-1] < SIGNIFICANT]
    return sorted(found, key=lambda s: (-s.effect, s.site))
