"""How often a tensor has which value, and the range for which rounding to 8 bits and cutting off cost least together.

The largest value of hundreds of frames sets the step of all others. Where few values are large, a narrower range has a
finer step and cuts those few off: the mean squared error of both is computed from counts of the values for every range,
and the least is taken (post-training "MSE" calibration; Nagel et al., arXiv 2106.08295, section 3.1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

STEPS = 255

_DROPPED_BITS = 17
"""Of a float32, which leaves its sign, exponent and 6 bits of 23: values are told apart to 1.6 %."""

_BINS = 2 ** (32 - _DROPPED_BITS)

_MOST_VALUES = 8192
"""Of one tensor on one frame, evenly spaced over it."""

_SHARES = np.geomspace(1.0, 0.05, 60)
"""Of an end of the range; what is tried."""

_ROUNDS = 3

Counts = npt.NDArray[np.int32]


def counts(values: npt.NDArray[np.float32]) -> Counts:
    """Of how many values of any tensor have which leading bits; counts of several frames add up."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    stride, channels = max(1, flat.size // _MOST_VALUES), values.shape[-1] if values.ndim else 1
    while math.gcd(stride, channels) != 1:  # or some channels would never be looked at
        stride += 1
    some = flat[::stride]
    bits = np.ascontiguousarray(some).view(np.uint32) >> _DROPPED_BITS
    return np.bincount(bits.astype(np.intp), minlength=_BINS).astype(np.int32)


def least_error_range(counted: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """The range within ``low`` and ``high`` of least squared error in 8 bits; it holds zero, which has no error.

    Args:
        counted: Sum of :func:`counts`.
        low: Smallest value.
        high: Largest value.
    """
    curve = _Errors(counted)
    ends = min(low, 0.0), max(high, 0.0)
    least = ends
    for _ in range(_ROUNDS):
        lows = ends[0] * _SHARES if ends[0] < 0 else np.zeros(1)
        least = float(lows[np.argmin(curve(lows, np.full(lows.shape, least[1])))]), least[1]
        highs = ends[1] * _SHARES if ends[1] > 0 else np.zeros(1)
        least = least[0], float(highs[np.argmin(curve(np.full(highs.shape, least[0]), highs))])
    return least if least != ends else (low, high)


class _Errors:
    """Squared error, summed over the values, by range; from sums over values in their order."""

    def __init__(self, counted: npt.NDArray[Any]) -> None:
        held = np.flatnonzero(counted)
        middle = ((held.astype(np.uint32) << _DROPPED_BITS) + (1 << (_DROPPED_BITS - 1))).astype(np.uint32)
        value = middle.view(np.float32).astype(np.float64)
        value[(held == 0) | (held == _BINS // 2)] = 0.0
        order = np.argsort(value, kind="stable")
        self._values, weight = value[order], counted[held][order].astype(np.float64)
        self._count = _running(weight)
        self._sum = _running(weight * self._values)
        self._squares = _running(weight * self._values**2)
        self._rounded = _running(weight * (self._values != 0))

    def __call__(self, lows: npt.NDArray[np.float64], highs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of each range; a range without width has every error."""
        first, last = np.searchsorted(self._values, lows), np.searchsorted(self._values, highs, "right")
        below = self._squares[first] - 2 * lows * self._sum[first] + lows**2 * self._count[first]
        above = (
            (self._squares[-1] - self._squares[last])
            - 2 * highs * (self._sum[-1] - self._sum[last])
            + highs**2 * (self._count[-1] - self._count[last])
        )
        step = (highs - lows) / STEPS
        within = step**2 / 12 * (self._rounded[last] - self._rounded[first])
        total: npt.NDArray[np.float64] = below + above + within
        return total


def _running(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.zeros(1), np.cumsum(values)])
