"""What is measured on a row of numbers itself: its level, its roughness, and how much it differs from another.

Rows come in any unit, so that everything is relative or counted in doublings.
"""

from __future__ import annotations

import numpy as np

from multigraft.statistics.value_histogram import Counts
from multigraft.tensors.arrays import Array, Float32Array, Float64Array

CELLS = 64
BINS = 64
LEAST_EXPONENT = -16
"""Bins begin at 2 to the power of it; there are two per doubling."""


def row_signature(row: Array) -> Float32Array:
    """Means of up to 64 cells of the row in its own order: float32, one dimension."""
    flat = row.reshape(-1)
    cells = min(CELLS, flat.size)
    size = flat.size // cells
    means: Float32Array = flat[: cells * size].reshape(cells, size).mean(axis=1, dtype=np.float32)
    return means


def row_difference(a: Float32Array, b: Float32Array) -> float:
    """Mean absolute difference of two signatures, in 255ths of the largest magnitude in either."""
    if a.shape != b.shape:
        return 255.0
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()), 1e-30)
    return 255 * float(np.abs(a - b).mean()) / largest


def level_and_roughness(row: Array) -> tuple[float, float]:
    """Root mean square of the row, and of the differences of neighbours along its last axis."""
    values = row.astype(np.float64)
    steps = np.diff(values, axis=-1)
    rough = float(np.sqrt(np.square(steps).mean())) if steps.size else 0.0
    return float(np.sqrt(np.square(values).mean())), rough


def doublings(values: Float64Array) -> Float64Array:
    """Their logarithm to base 2, within what the bins hold."""
    limit = LEAST_EXPONENT + BINS / 2
    logs: Float64Array = np.log2(np.clip(values, 2.0**LEAST_EXPONENT, 2.0**limit))
    return logs


def doubling_counts(values: Float64Array) -> Counts:
    """How many fall into each of 64 bins, two per doubling from 2 ** -16 on."""
    bins = np.clip(2 * (doublings(values) - LEAST_EXPONENT), 0, BINS - 1).astype(np.intp)
    return np.bincount(bins, minlength=BINS)
