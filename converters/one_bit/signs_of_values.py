"""Values as signs: where each channel is cut in two, and what a sign then stands for.

A channel's cut is the one at which two numbers, one for either side, fit its values best (Otsu, IEEE Transactions on
Systems, Man, and Cybernetics 9(1), 1979). Values are int8, so all cuts are tried on a histogram.

LceBconv2d pads with 1. Where a padding of 0 lies on the lower side, the channel's sign is turned over: 1 then stands
for the lower side, and padding costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Array, Float64Array

_STEPS = 256
"""Of int8."""
_ROWS = 4096
"""At a time: all of a large layer take hundreds of megabytes."""


@dataclass(frozen=True)
class Cuts:
    """Where the channels of an int8 tensor are cut.

    Attributes:
        least: The least value of the upper side, in steps from the zero point, int64, one per channel.
        reach: What half the distance between the sides' means is, in steps, with the sign's direction, float64.
    """

    least: npt.NDArray[np.int64]
    reach: Float64Array

    @classmethod
    def of(cls, steps: Array, channels: int, zero_point: int) -> Cuts:
        """The best cuts.

        Args:
            steps: Values in steps from the zero point, whole numbers, rows x (channels x places).
            channels: How many.
            zero_point: Of the tensor.
        """
        counts = np.zeros((channels, _STEPS), np.int64)
        for channel, own in enumerate(steps.reshape(len(steps), channels, -1).swapaxes(0, 1)):
            stored = np.rint(own.reshape(-1)).astype(np.int64) + zero_point + 128
            counts[channel] = np.bincount(stored.clip(0, _STEPS - 1), minlength=_STEPS)
        values = np.arange(_STEPS) - 128 - zero_point
        below, sums = counts.cumsum(1)[:, :-1], (counts * values).cumsum(1)
        total, whole = counts.sum(1, keepdims=True), sums[:, -1:]
        above, sums = total - below, sums[:, :-1]
        has_both = (below > 0) & (above > 0)
        distance = (whole - sums) / np.maximum(above, 1) - sums / np.maximum(below, 1)
        gain = np.where(has_both, below.astype(np.float64) * above * distance**2, 0.0)
        place = gain.argmax(1)
        # Where values leave a gap, its middle is as good, and farther from what other frames hold.
        last = _STEPS - 2 - gain[:, ::-1].argmax(1)
        last = np.where(gain[np.arange(channels), last] == gain[np.arange(channels), place], last, place)
        least = values[1:][(place + last) // 2]
        reach = np.where(has_both.any(1), distance[np.arange(channels), place] / 2, 0.0)
        return cls(least, np.where(least > 0, -reach, reach))

    @property
    def factors(self) -> npt.NDArray[np.int64]:
        """-1 where a sign is turned over, so that 0 becomes 1; else 1."""
        return np.where(self.least > 0, -1, 1)

    @property
    def summands(self) -> npt.NDArray[np.int64]:
        """What is added to a value times its factor: below 0 is -1 then, and all else 1. In steps, never below 0."""
        return np.where(self.least > 0, self.least - 1, -self.least)

    def signs(self, steps: Array) -> npt.NDArray[np.float32]:
        """-1 and 1 for values in steps from the zero point, rows x (channels x places), float32."""
        places = steps.shape[1] // len(self.least)
        factors, summands = (np.repeat(v, places).astype(np.float32) for v in (self.factors, self.summands))
        result = np.empty(steps.shape, np.float32)
        for first in range(0, len(steps), _ROWS):
            rows = slice(first, first + _ROWS)
            result[rows] = np.where(np.rint(steps[rows]) * factors + summands < 0, np.float32(-1), np.float32(1))
        return result
