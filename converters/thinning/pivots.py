"""Which channels to keep: pivoted Cholesky, which takes the one that those taken explain least, again and again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float64Array


def pivots(covariance: Float64Array, importance: Float64Array) -> npt.NDArray[np.int64]:
    """All channels in the order in which they should be kept; the first k are kept of k.

    Args:
        covariance: (channels, channels), of the values that are read.
        importance: (channels,), the norm of the weights that read each.
    """
    left = covariance * importance[:, None] * importance[None, :]
    order: list[int] = []
    free = np.ones(len(left), bool)
    tiny = 1e-12 * max(float(np.trace(left)), 1e-300)
    for _ in range(len(left)):
        gain = np.where(free, np.diagonal(left), -np.inf)
        best = int(gain.argmax())
        free[best] = False
        order.append(best)
        if gain[best] > tiny:
            left = left - np.outer(left[:, best], left[best]) / left[best, best]
    return np.array(order, np.int64)
