"""CKA from sums with noise, and how well each is known.

The sums give the cross-covariance of two taps' numbers, ``A = M - m m' / n`` (taps' numbers ``x``, ``y``; sketches of
their features), and HSIC is ``|A|^2`` (Frobenius). Three things add to it in the mean and are taken off, so that the
estimate is unbiased to first order:

- the noise's own square, ``numbers_x * numbers_y * variance``;
- the chance of ``n`` frames, ``tr A_xx tr A_yy / n``;
- of a sketch of ``k`` numbers with itself, the chance of its signs: with ``S`` the sketch and ``C`` the covariance,
  ``E |S C S'|^2 = (1 + 1/k) |C|^2 + (tr C)^2 / k`` and ``E (tr S C S')^2 = (tr C)^2 + 2 |C|^2 / k``.

Noise can leave an HSIC of a tap with itself near or below 0; nothing is then known of any CKA of that tap. How wide the
others are is found by adding noise of the same variance a second time, over and over, and by leaving out parts of the
sketches in turn (jackknife). Chance in which frames were seen is not part of it: a file with noise holds no groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.statistics import entries
from multigraft.statistics.noise import UNIT, Noise, length_of, numbers_of
from multigraft.statistics.statistics import Statistics
from multigraft.tensors.arrays import Float64Array

TOO_NOISY = 0.25
"""Half width of an interval from which on a CKA is not known well enough to choose by: shallow and deep cut points of
networks that see the same differ by about as much."""

REPEATS = 48
PARTS = 8
NORMAL_95, STUDENT_T_95 = 1.96, 2.365
"""For the noise, and for :data:`PARTS` parts (7 degrees of freedom)."""
UNKNOWN = 2.0
"""Half width where nothing is known: CKA lies in -1..1."""

_STANDING_OUT = 2.0
"""HSIC of a tap with itself over its own standard deviation, from which on it is a divisor."""


@dataclass(frozen=True)
class NoisedSimilarity:
    """What is known.

    Attributes:
        cka: Taps x taps (all of the subject), -1..1; 0 where nothing is known.
        half_width: Taps x taps: of a 95 % interval, for noise and sketches; :data:`UNKNOWN` where nothing is known.
        cut_off: Tap to the mean square length of what a frame adds, over the greatest; near 1 most were cut off.
    """

    cka: Float64Array
    half_width: Float64Array
    cut_off: dict[str, float]

    @property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """Taps x taps: whether a CKA may be chosen by."""
        return self.half_width <= TOO_NOISY


def noised_similarity(statistics: Statistics) -> NoisedSimilarity | None:
    """CKA of all pairs of taps; None where no sums have noise.

    Frames without noise, where some were merged, count as they do in :meth:`Statistics.similarity`.
    """
    noise = statistics.noise
    if noise is None:
        return None
    estimate = _Estimate(noise, statistics)
    sums = statistics.overall.sums[entries.BOUNDED].values() / UNIT**2
    hsic = estimate.hsic(sums)
    random = np.random.default_rng(0)
    again = [
        estimate.hsic(sums + estimate.deviation * random.standard_normal(len(sums)), repeats=2) for _ in range(REPEATS)
    ]
    parts = [estimate.hsic(sums, left_out=part) for part in range(PARTS)]
    spread = np.std([np.diag(h) for h in again], axis=0)
    stands_out = np.diag(hsic) > _STANDING_OUT * spread
    cka = _cka(hsic, stands_out)
    by_noise = np.mean([(_cka(h, stands_out) - cka) ** 2 for h in again], axis=0)
    without = np.array([_cka(h, stands_out) for h in parts])
    by_sketch = (PARTS - 1) / PARTS * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    width = np.sqrt(NORMAL_95**2 * by_noise + STUDENT_T_95**2 * by_sketch)
    known = np.outer(stands_out, stands_out)
    same = np.eye(len(cka), dtype=bool)
    half_width = np.where(known, np.minimum(np.where(same, 0.0, width), UNKNOWN), UNKNOWN)
    cka = np.where(known, np.clip(cka, -1, 1), 0.0)
    cut_off = dict(zip(noise.bounds, (estimate.traces(sums) / noise.frames).tolist(), strict=True))
    taps = [tap.name for tap in statistics.subject.taps]
    places = np.ix_(*([taps.index(name) for name in noise.bounds],) * 2)
    all_cka, all_widths = np.zeros((len(taps), len(taps))), np.full((len(taps), len(taps)), UNKNOWN)
    all_cka[places], all_widths[places] = cka, half_width
    return NoisedSimilarity(all_cka, all_widths, cut_off)


def _cka(hsic: Float64Array, stands_out: npt.NDArray[np.bool_]) -> Float64Array:
    with np.errstate(invalid="ignore"):
        norm = np.where(stands_out & (np.diag(hsic) > 0), np.sqrt(np.diag(hsic)), np.inf)
    # A repeated draw may be far out where hardly anything is known.
    cka: Float64Array = np.clip(hsic / np.outer(norm, norm), -UNKNOWN, UNKNOWN)
    return cka


class _Estimate:
    def __init__(self, noise: Noise, statistics: Statistics) -> None:
        bounds = list(noise.bounds.values())
        self.deviation = np.sqrt(noise.variance) / UNIT**2
        self._frames = noise.frames
        self._total = numbers_of(noise.bounds)
        self._first, self._second = np.triu_indices(self._total)
        assert length_of(noise.bounds) == self._total + len(self._first)
        self._numbers = np.array([b.numbers for b in bounds])
        self._starts = np.cumsum(self._numbers) - self._numbers
        self._tap_of = np.repeat(np.arange(len(bounds)), self._numbers)
        self._place = np.arange(self._total) - self._starts[self._tap_of]
        self._is_sketch = np.array([b.is_sketch for b in bounds])
        self._squares = np.array([b.radius**2 for b in bounds])
        self._plain: Float64Array | None = None
        if statistics.frames > noise.frames:
            sums = statistics.similarity()
            places = np.ix_(*([sums.taps.index(name) for name in noise.bounds],) * 2)
            self._plain = sums.mean_hsic()[places]
        self._plain_frames = statistics.frames - noise.frames

    def _matrix(self, sums: Float64Array) -> Float64Array:
        products = np.zeros((self._total, self._total))
        products[self._first, self._second] = sums[self._total :]
        products[self._second, self._first] = sums[self._total :]
        matrix: Float64Array = products - np.outer(sums[: self._total], sums[: self._total]) / self._frames
        return matrix

    def traces(self, sums: Float64Array) -> Float64Array:
        """Taps: sum of squares of their numbers."""
        squares = sums[self._total :][self._first == self._second]
        traces: Float64Array = np.add.reduceat(squares, self._starts)
        return traces

    def hsic(self, sums: Float64Array, repeats: int = 1, left_out: int | None = None) -> Float64Array:
        """Taps x taps: mean over frames, unbiased.

        Args:
            sums: Over UNIT^2.
            repeats: How often noise was added to them.
            left_out: Part of each sketch that does not count.
        """
        matrix = self._matrix(sums)
        kept = np.ones(self._total)
        if left_out is not None:
            kept = np.where(self._is_sketch[self._tap_of] & (self._place % PARTS == left_out), 0.0, 1.0)
        numbers = np.add.reduceat(kept, self._starts)
        # Means over sums of squares of kept numbers stand for those over all.
        grow = np.outer(self._numbers / numbers, self._numbers / numbers)
        variance = repeats * self.deviation**2
        trace = np.add.reduceat(np.diag(matrix) * kept, self._starts) * self._numbers / numbers
        square = np.add.reduceat(np.add.reduceat(matrix**2 * np.outer(kept, kept), self._starts, 0), self._starts, 1)
        hsic = grow * (square - np.outer(numbers, numbers) * variance)
        own = np.diag(hsic) - (trace**2 - self._numbers * variance) / self._numbers
        own /= 1 + 1 / self._numbers - 2 / self._numbers**2
        hsic[np.diag_indices_from(hsic)] = np.where(self._is_sketch, own, np.diag(hsic))
        hsic -= np.outer(trace, trace) / self._frames
        per_frame: Float64Array = hsic / self._frames**2
        if self._plain is None:
            return per_frame
        share = self._frames / (self._frames + self._plain_frames)
        in_own_units = per_frame * np.outer(self._squares, self._squares)
        return share * in_own_units + (1 - share) * self._plain
