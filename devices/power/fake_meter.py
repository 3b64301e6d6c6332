"""A power meter without hardware, for trying things out and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable

from multigraft.devices.power.power_sampling import SampledMeter


class FakeMeter(SampledMeter):
    """PowerMeter adapter: a machine that draws what it is told to.

    Args:
        power_mw: Constant power in milliwatts, or a function that gives it.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
    """

    name = "fake power meter"
    rails = ("fake",)

    def __init__(
        self,
        power_mw: float | Callable[[], float] = 1000.0,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(power_mw if callable(power_mw) else lambda: power_mw, interval_s, clock)
