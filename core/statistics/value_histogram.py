"""Histograms of float32 values that merge by addition and give percentiles with a bounded relative error.

The bin of a value is its sign, its exponent and the first five bits of its mantissa: 16,384 bins that cover every
float32, without a range to choose beforehand. A bin's ends differ by 1 part in 32, so a percentile is wrong by at most
1 part in 64 of its own size (values below 2**-126 count as 0).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Array, Float32Array

BINS = 1 << 14
RELATIVE_ERROR = 1 / 64
"""Largest relative error of :func:`percentile`, as far as the values counted go."""

_SHIFT = 18

Counts = npt.NDArray[np.int64]


def count(values: Float32Array) -> Counts:
    """Histogram of finite float32 values of any shape: int64, 16,384 bins."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(-1)
    counts: Counts = np.bincount((bits >> np.uint32(_SHIFT)).astype(np.intp), minlength=BINS)
    return counts


def _middles() -> Float32Array:
    edges = np.arange(BINS, dtype=np.uint32) << np.uint32(_SHIFT)
    with np.errstate(invalid="ignore"):
        # The last bins of each sign are infinity and NaN.
        low = edges.view(np.float32).astype(np.float64)
        high = (edges | np.uint32((1 << _SHIFT) - 1)).view(np.float32).astype(np.float64)
        middle = (low + high) / 2
    exponent = (edges >> np.uint32(23)) & np.uint32(0xFF)
    return np.where(exponent == 0, 0.0, middle).astype(np.float32)


def percentile(counts: Array, percent: float) -> float:
    """The value below which ``percent`` (0..100) of the counted values lie; NaN of an empty histogram."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    middles = _middles()
    order = np.argsort(np.where(np.isfinite(middles), middles, np.inf), kind="stable")
    reached = np.searchsorted(np.cumsum(counts[order]), max(1.0, percent / 100 * total), side="left")
    return float(middles[order[min(int(reached), BINS - 1)]])
