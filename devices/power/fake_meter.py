"""A power meter without hardware, for trying things out and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Accuracy, Rail

EXACT = Accuracy(interval_s=0.001, gain=0.0)


class FakeMeter(SampledMeter):
    """PowerMeter adapter: a machine that draws what it is told to.

    Args:
        power_mw: Constant power in milliwatts, or a function that gives it.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
        accuracy: That of its readings.
    """

    name = "fake power meter"

    def __init__(
        self,
        power_mw: float | Callable[[], float] = 1000.0,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        accuracy: Accuracy = EXACT,
    ) -> None:
        rail = Rail("fake", accuracy)
        read_mw = power_mw if callable(power_mw) else lambda: power_mw
        super().__init__(lambda: read_mw() / 1000, (rail,), (rail,), interval_s, clock)
