"""The temperature with which an exit's probabilities fit the answers of the whole network; no label is needed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float64Array

MOST = 100.0
"""Largest temperature, in units of the middle distance between the two largest logits."""
LEAST = 1 / 12
"""The smallest: beyond, all answers would be sure to the last bit, and none surer than another."""
_STEPS = 60
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: Float64Array, classes: npt.NDArray[np.intp]) -> float:
    """The temperature of the least cross entropy to ``classes``.

    It is convex in the inverse of the temperature, so a golden-section search over the logarithm finds it.

    Args:
        logits: (frames, classes).
        classes: (frames,) what the whole network answers.

    Returns:
        Above 0.
    """
    rows = np.arange(len(logits))
    distances = logits - logits.max(axis=1, keepdims=True)
    right = distances[rows, classes]

    def cross_entropy(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        return float(np.mean(np.log(np.exp(distances * inverse).sum(axis=1)) - right * inverse))

    two = np.partition(logits, -2, axis=1)[:, -2:]
    unit = float(np.median(two[:, 1] - two[:, 0])) or 1.0
    low, high = math.log(LEAST * unit), math.log(MOST * unit)
    for _ in range(_STEPS):
        left, rightmost = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if cross_entropy(left) <= cross_entropy(rightmost):
            high = rightmost
        else:
            low = left
    return math.exp((low + high) / 2)
