"""Joulescope JS110 and JS220 (joulescope): the instrument itself adds up the energy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from multigraft.devices.power.pushed_meter import PushedMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra

ACCURACY = Accuracy(interval_s=0.05, gain=0.01)
"""It integrates a million values a second or two, and tells the sum twenty times; nominally off by 0.5 % to 1 %."""

VOLTAGE_RANGE = "15V"


class JoulescopeMeter(PushedMeter):
    """PowerMeter adapter: the only Joulescope there is, between the supply and the board.

    Args:
        clock: Seconds, monotonic.
    """

    name = "Joulescope"

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(Rail("board", ACCURACY), clock, counts=True)
        self._device: Any = None

    def _open(self) -> None:
        try:
            import joulescope
        except Exception as error:
            raise MissingDependencyError(
                f"reading a Joulescope needs joulescope, which is {how_missing(error)}", install_extra("joulescope")
            ) from error
        try:
            self._device = joulescope.scan_require_one(name="Joulescope", config="off")
            self._device.open()
            self._device.parameter_set("i_range", "auto")
            self._device.parameter_set("v_range", VOLTAGE_RANGE)
            self._device.parameter_set("reduction_frequency", "20 Hz")
            self._device.statistics_callback_register(self._told, "sensor")
        except Exception as error:
            self._device = None
            raise DeviceError(f"no Joulescope answers ({error})", "plug it in, one alone") from error

    def _close(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _told(self, statistics: Mapping[str, Any]) -> None:
        """Called by its own thread."""
        try:
            self.push(float(statistics["accumulators"]["energy"]["value"]))
        except (KeyError, TypeError, ValueError) as error:
            self.fail(DeviceError(f"{self.name} tells no energy ({error})", install_extra("joulescope")))
