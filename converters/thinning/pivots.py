"""Which channels to keep: pivoted Cholesky, which takes the one that those taken explain least, again and again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float64Array


def pivots(covariance: Float64Array) -> npt.NDArray[np.int64]:
    """All channels in the order in which they should be kept; the first k are kept of k.

    Args:
        covariance: (channels, channels), of the values that are read, each times the norm of the weights that read it.
    """
    count = len(covariance)
    gains = np.diagonal(covariance).copy()
    # One row per channel taken: updating all that is left each time moves as much memory as that, again and again.
    rows = np.empty((count, count))
    order: list[int] = []
    tiny = 1e-12 * max(float(gains.sum()), 1e-300)
    taken = 0
    for _ in range(count):
        best = int(gains.argmax())
        order.append(best)
        if gains[best] > tiny:
            row = covariance[best] - rows[:taken, best] @ rows[:taken]
            rows[taken] = row / np.sqrt(gains[best])
            gains -= rows[taken] ** 2
            taken += 1
        gains[order] = -np.inf
    return np.array(order, np.int64)
