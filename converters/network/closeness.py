"""Whether a rewritten graph still computes the same: one measure of how far outputs differ, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-3
"""Largest difference after rewriting, relative to the largest output; float32 folding stays below 1e-4."""

ABSOLUTE_TOLERANCE = 1e-4
"""Difference that counts as none in an output that hardly moves (a sigmoid near 0): rounding before it is as large as
it is there. What differs by more than :data:`SOUND` of the output's size is another computation, however small."""

SOUND = 0.1

CHECKS = 3
"""Random frames per verification."""

Arrays = Sequence[npt.NDArray[Any]]


def difference(new: Arrays, old: Arrays) -> float:
    """Largest difference of any output, relative to the largest absolute value of that output; inf if shapes differ.

    Where it is below :data:`SOUND`, outputs smaller than 0.1 count as being as large, so that
    :data:`ABSOLUTE_TOLERANCE` is :data:`TOLERANCE` of them.
    """
    worst = 0.0
    for a, b in zip(new, old, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf
        finite = np.isfinite(b)
        x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
        size = np.abs(y).max(initial=float(np.finfo(np.float32).tiny))
        distance = float(np.abs(x - y).max(initial=0.0))
        if distance <= SOUND * size:
            size = max(size, ABSOLUTE_TOLERANCE / TOLERANCE)
        worst = max(worst, distance / size)
    return worst
