"""CKA from sums with noise: right where enough is known, and never more certain than it is."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.statistics import entries
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.noise import Noise
from multigraft.statistics.noised_similarity import TOO_NOISY, UNKNOWN, NoisedSimilarity, noised_similarity
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Statistics
from multigraft.tensors.arrays import Float64Array
from tests.calibration.samples import SUBJECT
from tests.calibration.samples import statistics as plain_statistics
from tests.core.statistics.noised_samples import BOUNDS, block, frames, with_noise

ACROSS = np.s_[:2, 2:]
"""Pairs of the two networks."""


def of(statistics: Statistics) -> NoisedSimilarity:
    found = noised_similarity(statistics)
    assert found is not None
    return found


def exact(count: int, likeness: float) -> Float64Array:
    added = frames(count, likeness=likeness).astype(np.float32).reshape(count, len(BOUNDS), -1)
    sums = SimilaritySums([tap.name for tap in SUBJECT.taps])
    for part in np.split(added, count // 1024):
        sums.add([part[:, tap] for tap in range(len(BOUNDS))])
    return sums.unbiased_cka()


def barely_noised(count: int, likeness: float) -> Statistics:
    made = block(frames(count, likeness=likeness))
    made.noise = Noise(1.0, 1e-6, "none to speak of", count, 1.0, BOUNDS)
    return made


@pytest.mark.parametrize("likeness", [1.0, 0.6, 0.4, 0.0])
def test_without_noise_to_speak_of_it_is_the_unbiased_cka(likeness: float) -> None:
    found = of(barely_noised(1024, likeness))
    np.testing.assert_allclose(found.cka, exact(1024, likeness), atol=0.005)
    assert found.is_known.all() and found.half_width.max() < 0.01


@pytest.mark.parametrize("epsilon", [2.0, 8.0])
@pytest.mark.parametrize("likeness", [1.0, 0.5])
def test_with_noise_it_lies_within_its_interval(epsilon: float, likeness: float) -> None:
    """Four times the half width is eight deviations: a chance of 1e-15 for each of a dozen figures."""
    count = 8192
    found, true = of(with_noise(count, epsilon, likeness=likeness)), exact(count, likeness)
    assert found.is_known.all()
    assert (np.abs(found.cka - true) <= 4 * found.half_width + 0.005).all()
    assert (found.half_width > of(barely_noised(count, likeness)).half_width)[ACROSS].all()


def test_where_noise_drowns_everything_nothing_is_known() -> None:
    """The noise is 900 times what all frames together add."""
    found = of(with_noise(64, 0.01))
    assert not found.is_known[ACROSS].any()
    assert (np.abs(found.cka) <= 1).all() and np.isfinite(found.cka).all()
    assert found.half_width.max() == UNKNOWN > TOO_NOISY


def test_sums_that_no_frames_have_give_no_error() -> None:
    """Noise may make any sum negative: traces, squares, and what is a divisor elsewhere."""
    made = barely_noised(64, 1.0)
    for values in (-(10**9), 0, 10**12):
        made.overall.sums[entries.BOUNDED] = ExactSums.of_whole(
            np.full(made.overall.sums[entries.BOUNDED].shape, values, np.int64)
        )
        found = of(made)
        assert np.isfinite(found.cka).all() and np.isfinite(found.half_width).all()


def test_statistics_without_noise_have_none() -> None:
    assert noised_similarity(plain_statistics(0)) is None


def test_frames_with_and_without_noise_count_by_their_numbers() -> None:
    """A few with noise among many without change little; the mean lies between the two."""
    plain, hidden = plain_statistics(3, 64), barely_noised(64, 1.0)
    mixed = of(plain.merge(hidden))
    alone, noisy = plain.similarity().unbiased_cka(), of(hidden).cka
    between = (np.minimum(alone, noisy) - 0.05 <= mixed.cka) & (mixed.cka <= np.maximum(alone, noisy) + 0.05)
    assert between.all()
    np.testing.assert_allclose(plain.similarity().mean_hsic().diagonal() > 0, True)
