"""A bound on the mean of scores between 0 and 1, by betting, with numpy alone, for the device.

Whoever doubts that the mean is as low as ``m`` stakes a fraction ``c`` of a capital of 1 on every score ``x``, which
leaves ``1 - c + c * x / m`` of it. If the mean is ``m`` or less, the capital is expected to be 1 at most, and so is
that of several players together. So it reaches ``1 / risk`` with a probability of ``risk`` at most (Markov), and the
bound is the largest ``m`` at which it does. Source: Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024, section 4;
players of fixed fractions, as in Orabona and Jun, IEEE Trans. Inf. Theory 70, 2024.

Who plays is chosen for a known number of scores. One player with half of the capital has the fraction that is best
against scores of 0 and 1 alone, by which he needs no more than Hoeffding's bound (J. Am. Stat. Assoc. 58, 1963, theorem
1) at half of the risk. :data:`BOLDER` others, in equal steps of the logarithm up to a fraction of 1, win where scores
stray less. Where even scores of 1 alone would hardly do, all stake everything: then the bound of scores of 1 is that
of a count. Capital falls with ``m`` and rises with every score; the order of scores plays no part; among scores of one
sum those of 0 and 1 have the lowest bound.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from multigraft.agreement.binomial import HALVINGS, lower_bound
from multigraft.tensors.arrays import Float64Array

BOLDER = 4
_LOG_SHARES = np.log([0.5, *[0.5 / BOLDER] * BOLDER])


def lower_bound_of_mean(scores: Float64Array, confidence: float) -> float:
    """Lower bound on the mean of independent scores.

    Args:
        scores: (n,) float64, each 0..1, n at least 1; they need not be of one distribution.
        confidence: Between 0 and 1.
    """
    trials = len(scores)
    values, counts = np.unique(np.clip(scores, 0, 1), return_counts=True)
    if values[0] >= 1:
        return lower_bound(trials, trials, confidence)
    risk = 1 - confidence
    low, high = 0.0, float(values @ counts) / trials
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if is_refuted(middle, values, counts, risk):
            low = middle
        else:
            high = middle
    return low


def lower_bound_of_count(right: int, frames: int, confidence: float, is_graded: bool) -> float:
    """The bound where ``right`` of the frames agree and the others do not at all.

    Args:
        right: 0..frames.
        frames: At least 1.
        confidence: Between 0 and 1.
        is_graded: Frames can agree in part: it is then the lowest bound of any scores of that sum.
    """
    if not is_graded:
        return lower_bound(right, frames, confidence)
    return lower_bound_of_mean(np.repeat([1.0, 0.0], [right, frames - right]), confidence)


def is_refuted(mean: float, values: Float64Array, counts: npt.NDArray[np.intp], risk: float) -> bool:
    """Whether the capital of all players, at first 1 together, ends at ``1 / risk`` or more.

    Args:
        mean: That is doubted, above 0 and below 1.
        values: The scores that occur, each 0..1.
        counts: How often each does.
        risk: Probability with which a true mean may be refuted.
    """
    trials = int(counts.sum())
    first = _fraction(mean, -math.log(0.5 * risk) / trials)
    fractions = first ** np.linspace(1, 0, BOLDER + 1)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(1 - fractions[:, None] * (1 - values / mean), 0)) @ counts + _LOG_SHARES
    greatest = float(logs.max())
    if not math.isfinite(greatest):
        return False
    return greatest + math.log(float(np.exp(logs - greatest).sum())) >= -math.log(risk)


def _fraction(mean: float, growth: float) -> float:
    """The fraction with which the smallest share of ones lets a capital grow by ``growth`` a score; 1 if none does."""
    if -math.log(mean) <= growth:
        return 1.0
    low, high = mean, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        if share in (low, high):
            break
        if share * math.log(share / mean) + (1 - share) * math.log((1 - share) / (1 - mean)) < growth:
            low = share
        else:
            high = share
    return (low - mean) / (1 - mean)
