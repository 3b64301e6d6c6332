"""Exact bounds on a probability from counts, with the standard library and numpy alone, for the device.

The one-sided bound of Clopper and Pearson (Biometrika 26, 1934) is the probability ``p`` at which so many successes or
more are just ``1 - confidence`` likely. It is found by bisection on the binomial tail, whose terms come from
``math.lgamma``.
"""

from __future__ import annotations

import math

import numpy as np

from multigraft.tensors.arrays import Float64Array

HALVINGS = 100
"""More than a bisection between floats takes; it ends sooner."""


def tail(successes: int, trials: int, probability: float) -> float:
    """Probability of at least ``successes`` out of ``trials``, each of which succeeds with ``probability``."""
    if successes <= 0 or probability >= 1:
        return 1.0
    if probability <= 0 or successes > trials:
        return 0.0
    return _tail(_logarithms(successes, trials), probability)


def _logarithms(successes: int, trials: int) -> tuple[Float64Array, ...]:
    """Counts ``successes..trials``, their complements, and the logarithm of each binomial coefficient."""
    counts = np.arange(successes, trials + 1, dtype=np.float64)
    rest = trials - counts
    whole = math.lgamma(trials + 1)
    chosen = np.array([whole - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in range(successes, trials + 1)])
    return counts, rest, chosen


def _tail(parts: tuple[Float64Array, ...], probability: float) -> float:
    counts, rest, chosen = parts
    logs = chosen + counts * math.log(probability) + rest * math.log1p(-probability)
    greatest = float(logs.max())
    return min(1.0, math.exp(greatest) * float(np.exp(logs - greatest).sum()))


def lower_bound(successes: int, trials: int, confidence: float) -> float:
    """One-sided Clopper-Pearson lower bound on the probability of a success.

    Args:
        successes: 0..trials.
        trials: At least 1; time and memory grow with it (100,000 take some tens of milliseconds).
        confidence: Between 0 and 1.
    """
    if successes <= 0:
        return 0.0
    risk = 1 - confidence
    if successes >= trials:
        return float(risk ** (1 / trials))
    parts = _logarithms(successes, trials)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _tail(parts, middle) < risk:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def frames_needed(minimum: float, confidence: float) -> int:
    """Fewest frames that can show an agreement of ``minimum`` at all: those whose bound reaches it if all agree.

    Where frames agree in part the bound of frames that all agree is the same, see :mod:`multigraft.agreement.betting`.

    Args:
        minimum: Between 0 and 1.
        confidence: Between 0 and 1.
    """
    # Logarithms may round to the neighbour of a whole number, so the bound itself has the last word.
    frames = max(1, math.ceil(math.log(1 - confidence) / math.log(minimum)) - 1)
    while lower_bound(frames, frames, confidence) < minimum:
        frames += 1
    return frames
