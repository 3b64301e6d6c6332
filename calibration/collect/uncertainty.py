"""What an early exit would see in a classifier's outputs: top-1 margin and entropy, without a label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float32Array, Float64Array

BINS = 50
"""Bins of both histograms, over 0..1."""


def probabilities(outputs: Float32Array) -> Float64Array:
    """Class probabilities, frames x classes (two for a single output).

    Args:
        outputs: Frames x outputs: probabilities (each row at least 0 and adding up to 1) or logits.
    """
    values = outputs.astype(np.float64)
    if values.shape[1] == 1:
        within = values.min() >= 0 and values.max() <= 1
        yes = values if within else 1 / (1 + np.exp(-np.clip(values, -700, 700)))
        return np.concatenate([1 - yes, yes], axis=1)
    if values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() <= 1e-3:
        return values
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    softmax: Float64Array = raised / raised.sum(axis=1, keepdims=True)
    return softmax


def margin_and_entropy(
    outputs: Float32Array,
) -> tuple[Float64Array, Float64Array]:
    """Per frame: difference of the two greatest probabilities, and entropy over its maximum; both 0..1."""
    p = probabilities(outputs)
    greatest = np.partition(p, -2, axis=1)[:, -2:]
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1) / np.log(p.shape[1])
    return greatest[:, 1] - greatest[:, 0], np.clip(entropy, 0, 1)


def histogram(values: Float64Array) -> npt.NDArray[np.int64]:
    """Counts of values in 0..1 over :data:`BINS` bins."""
    bins = np.clip(values * BINS, 0, BINS - 1).astype(np.intp)
    return np.bincount(bins, minlength=BINS)
