"""The temperature with which an exit's probabilities fit the answers of the whole network; no label is needed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float64Array

LEAST, MOST = 0.01, 100.0
_STEPS = 60
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: Float64Array, classes: npt.NDArray[np.intp]) -> float:
    """The temperature of the least cross entropy to ``classes``.

    It is convex in the inverse of the temperature, so a golden-section search over the logarithm finds it.

    Args:
        logits: (frames, classes).
        classes: (frames,) what the whole network answers.

    Returns:
        Between :data:`LEAST` and :data:`MOST`.
    """
    rows = np.arange(len(logits))
    distances = logits - logits.max(axis=1, keepdims=True)
    right = distances[rows, classes]

    def cross_entropy(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        return float(np.mean(np.log(np.exp(distances * inverse).sum(axis=1)) - right * inverse))

    low, high = math.log(LEAST), math.log(MOST)
    for _ in range(_STEPS):
        left, rightmost = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if cross_entropy(left) <= cross_entropy(rightmost):
            high = rightmost
        else:
            low = left
    return math.exp((low + high) / 2)
