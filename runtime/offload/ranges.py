"""What part of a representation's values is kept when it is sent in a few bits: a lower and an upper end per channel.

Percentiles need no assumption. The model takes values for Laplacian, or those of a channel that is never negative for
exponential, and sets the end where clipping and rounding cost the same, by the mean square (Banner et al.,
arXiv 1810.05723, appendix A, with the step of uniform quantisation between two ends that are both codes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from multigraft.errors import InputError
from multigraft.tensors.arrays import Array, Float32Array

MOST_BITS = 8
FEWEST_BITS = 2
PERCENTILE = 99.9
"""Share of a channel's values, in percent, that is not clipped at an end."""
_NEWTON_STEPS = 24


@dataclass(frozen=True, eq=False)
class Ranges:
    """The ends between which values are coded.

    Attributes:
        low: float32, (channels,), or (1,) for all of them together.
        high: Likewise, not below ``low``.

    Raises:
        InputError: They are not of one length, not finite, or crossed.
    """

    low: Float32Array
    high: Float32Array

    def __post_init__(self) -> None:
        if self.low.ndim != 1 or not len(self.low) or self.low.shape != self.high.shape:
            raise InputError("the ends of a range are not of one length", "give one per channel, or one for all")
        with np.errstate(over="ignore"):
            width = self.high - self.low
        if not (np.isfinite(self.low).all() and np.isfinite(width).all() and (width >= 0).all()):
            raise InputError("the ends of a range are crossed or not finite", "give finite numbers, the lower first")

    def steps(self, bits: int) -> Float32Array:
        """Between neighbouring codes, in the values' unit: float32, as many as :attr:`low`."""
        return (self.high - self.low) / np.float32((1 << bits) - 1)


def by_percentile(samples: Array, per_channel: bool = True) -> Ranges:
    """Ends that few values lie outside of.

    Args:
        samples: Real values, (frames, ..., channels).
        per_channel: Or one pair for all channels.

    Raises:
        InputError: There is no sample.
    """
    rows = _rows(samples, per_channel)
    low, high = np.percentile(rows, (100 - PERCENTILE, PERCENTILE), axis=0).astype(np.float32)
    # An end at zero is a ReLU's: most values lie there, exactly.
    low[rows.min(axis=0) >= 0] = 0
    return Ranges(low, np.maximum(low, high))


def by_model(samples: Array, bits: int, per_channel: bool = True) -> Ranges:
    """Ends for a number of bits, from means and mean deviations alone.

    Args:
        samples: Real values, (frames, ..., channels).
        bits: 2 to 8.
        per_channel: Or one pair for all channels.

    Raises:
        InputError: There is no sample.
    """
    rows = _rows(samples, per_channel)
    codes = (1 << bits) - 1
    least, most, mean = rows.min(axis=0), rows.max(axis=0), rows.mean(axis=0)
    deviation = np.abs(rows - mean).mean(axis=0)
    # A ReLU's channel: those above zero are exponential; the zeros are coded without error wherever the end lies.
    positive = (rows > 0).sum(axis=0)
    above = rows.sum(axis=0) / np.maximum(positive, 1)
    one_sided = least >= 0
    low = np.where(one_sided, 0, mean - deviation * lambert_w(3 * codes**2)).astype(np.float32)
    high = np.where(one_sided, above * lambert_w(12 * codes**2), mean + deviation * lambert_w(3 * codes**2))
    low, high = np.maximum(low, np.minimum(least, most)), np.minimum(high, most)
    low = low.astype(np.float32)
    return Ranges(low, np.maximum(low, high.astype(np.float32)))


def lambert_w(x: float) -> float:
    """The *w* with ``w * exp(w) = x``, for positive ``x``, by Newton's method."""
    w = math.log1p(x)
    for _ in range(_NEWTON_STEPS):
        w -= (w - x * math.exp(-w)) / (1 + w)
    return w


def _rows(samples: Array, per_channel: bool) -> Array:
    if not samples.size:
        raise InputError("there are no samples of a representation to take its range from", "give some frames")
    rows = np.asarray(samples, np.float64)
    return rows.reshape(-1, rows.shape[-1] if per_channel else 1)
