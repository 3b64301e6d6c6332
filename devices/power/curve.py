"""Energy over time, as it was sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multigraft.errors import DeviceError
from multigraft.tensors.arrays import Float64Array


@dataclass(frozen=True)
class Curve:
    """Samples of a meter, in order of time.

    Attributes:
        times_s: float64, samples: when, in seconds of the meter's clock; they rise.
        energy_j: float64, samples: joules since the meter was entered.
        power_w: float64, samples: watts as they were read; of a meter that counts joules, those since the sample
            before.
    """

    times_s: Float64Array
    energy_j: Float64Array
    power_w: Float64Array

    @classmethod
    def of_power(cls, times_s: Float64Array, power_w: Float64Array) -> Curve:
        """Integrate watts by the trapezoid rule."""
        steps = np.diff(times_s) * (power_w[1:] + power_w[:-1]) / 2
        return cls(times_s, np.concatenate([np.zeros(1), np.cumsum(steps)]), power_w)

    def between(self, start_s: float, end_s: float) -> float:
        """Joules drawn between two moments.

        Raises:
            DeviceError: There are no samples on both sides of both.
        """
        times = self.times_s
        if not len(times) or start_s < times[0] or end_s > times[-1]:
            raise DeviceError(
                "the power meter has no readings at one end of a window", "measure a shorter time, or check the sensor"
            )
        start_j, end_j = np.interp((start_s, end_s), times, self.energy_j)
        return float(end_j - start_j)

    def inside(self, start_s: float, end_s: float) -> Float64Array:
        """Watts of the samples between two moments."""
        first, last = np.searchsorted(self.times_s, (start_s, end_s))
        return self.power_w[first:last]
