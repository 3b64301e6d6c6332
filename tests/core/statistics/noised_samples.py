"""Statistics with noise, made in code: frames of two networks that see the same, as whole numbers within a bound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.statistics import entries
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.noise import UNIT, Bounds, Privacy, TapBounds
from multigraft.statistics.noising import noised
from multigraft.statistics.statistics import Statistics
from tests.calibration.samples import SUBJECT

NUMBERS = 4
BOUNDS: Bounds = {tap.name: TapBounds(NUMBERS, 2.0, is_sketch=False) for tap in SUBJECT.taps}
Whole = npt.NDArray[np.int64]


def frames(count: int, seed: int = 0, likeness: float = 1.0) -> Whole:
    """What frames add: count x numbers of all taps. Taps share a part of their numbers, which CKA shows."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((count, 1, NUMBERS)) * [1, 0.7, 0.5, 0.3]
    own = random.standard_normal((count, len(BOUNDS), NUMBERS)) * [1, 0.7, 0.5, 0.3]
    values = likeness * shared + (1 - likeness) * own
    length = np.linalg.norm(values, axis=2, keepdims=True)
    whole: Whole = np.trunc(values / np.maximum(length, 1) * (UNIT - 1)).astype(np.int64).reshape(count, -1)
    return whole


def sums_of(added: Whole) -> Whole:
    """The sums, then the products of each pair once."""
    first, second = np.triu_indices(added.shape[1])
    return np.concatenate([UNIT * added.sum(axis=0), (added.T @ added)[first, second]])


def block(added: Whole) -> Statistics:
    """A block of a release, before there is noise."""
    made = Statistics(SUBJECT, 8)
    made.overall.frames, made.overall.minibatches = len(added), 1
    made.overall.sums[entries.BOUNDED] = ExactSums.of_whole(sums_of(added))
    made.places = {("a", "2026-05-01"): made.overall.merge(Statistics(SUBJECT).overall)}
    return made


def with_noise(count: int, epsilon: float, seed: int = 0, likeness: float = 1.0) -> Statistics:
    """Statistics as a file with noise holds them."""
    made = noised(block(frames(count, seed, likeness)), Privacy(epsilon), BOUNDS)
    made.is_released = True
    return made
