"""Nordic's Power Profiler Kit II over a serial port (ppk2-api): 100,000 values of current a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from multigraft.devices.power.pushed_meter import PushedMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra

USB_MILLIVOLTS = 5000
"""In ampere mode the kit does not know the voltage of the supply; it has to be told."""

TAKEN_S = 0.005
"""Values of so long become one reading: their mean, which holds all that was drawn."""

DRAINING_S = 0.1
"""Until the last values are here after it was told to stop."""

ACCURACY = Accuracy(TAKEN_S, gain=0.15, offset_w=0.001, step_w=0.00001)
"""Nominal: 10 to 15 % over its ranges (PPK2 user guide, measurement accuracy), and at most 1 A."""


class Ppk2Meter(PushedMeter):
    """PowerMeter adapter: the current through the kit, in ampere mode, times a voltage that is taken as constant.

    Args:
        port: Such as ``/dev/ttyACM0``.
        millivolts: Of the supply.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, port: str, millivolts: int = USB_MILLIVOLTS, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__(Rail("DUT", ACCURACY), clock)
        self._port, self._millivolts = port, millivolts
        self._kit: Any = None
        self._stop_receiving = threading.Event()
        self._receiver: threading.Thread | None = None

    @property
    def name(self) -> str:
        return f"PPK2 on {self._port}"

    def _open(self) -> None:
        try:
            from ppk2_api.ppk2_api import PPK2_API
        except Exception as error:
            raise MissingDependencyError(
                f"reading a PPK2 needs ppk2-api, which is {how_missing(error)}", install_extra("meters")
            ) from error
        try:
            self._kit = PPK2_API(self._port, timeout=1, exclusive=True)
            # A process that was killed has left it measuring.
            self._kit.stop_measuring()
            time.sleep(DRAINING_S)
            self._kit.ser.reset_input_buffer()
            self._kit.get_modifiers()
            self._kit.set_source_voltage(self._millivolts)
            self._kit.use_ampere_meter()
            self._kit.toggle_DUT_power("ON")
            self._kit.start_measuring()
        except Exception as error:
            self._kit = None
            raise DeviceError(
                f"{self._port} cannot be opened ({error})", "plug the kit in, and add your user to the group dialout"
            ) from error
        self._stop_receiving.clear()
        self._receiver = threading.Thread(target=self._receive, name="PPK2", daemon=True)
        self._receiver.start()

    def _close(self) -> None:
        self._stop_receiving.set()
        if self._receiver is not None:
            self._receiver.join()
            self._receiver = None
        if self._kit is not None:
            # The board goes on: only measuring stops.
            self._kit.stop_measuring()
            self._kit.ser.flush()
            self._kit.ser.close()
            self._kit = None

    def _receive(self) -> None:
        try:
            while not self._stop_receiving.wait(TAKEN_S):
                raw = self._kit.get_data()
                if raw:
                    # Microamperes.
                    currents = self._kit.get_samples(raw)[0]
                    if currents:
                        self.push(sum(currents) / len(currents) * 1e-6 * self._millivolts / 1000)
        except Exception as error:
            self.fail(DeviceError(f"{self.name} gives no reading ({error})", "unplug it and plug it in again"))
