"""FNIRSI FNB48, FNB48S, FNB58 and C1 USB meters (usb-multimeter): a hundred values a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from multigraft.devices.power.pushed_meter import PushedMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra

ACCURACY = Accuracy(interval_s=0.04, gain=0.01, step_w=0.0001)
"""Four values come together; nominally it is off by 0.5 % each in voltage and current."""


class FnirsiMeter(PushedMeter):
    """PowerMeter adapter: all that the board draws through the meter's plug.

    Args:
        serial_number: Of the meter; None for the only one.
        clock: Seconds, monotonic.
    """

    def __init__(self, serial_number: str | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(Rail("USB", ACCURACY), clock)
        self._serial_number = serial_number
        self._is_stopped = False
        self._receiver: threading.Thread | None = None

    @property
    def name(self) -> str:
        return f"USB meter {self._serial_number or '(FNIRSI)'}"

    def _open(self) -> None:
        try:
            import usb_multimeter
        except Exception as error:
            raise MissingDependencyError(
                f"reading a FNIRSI meter needs usb-multimeter, which is {how_missing(error)}", install_extra("meters")
            ) from error
        try:
            number = self._serial_number
            found = list(usb_multimeter.devices_by_serial_number(number) if number else usb_multimeter.all_devices())
            if len(found) != 1:
                raise DeviceError(
                    f"{len(found)} such USB meters are plugged in", "plug one in, or name it, as in fnirsi:SERIAL"
                )
            meter = usb_multimeter.USBMeter(usb_multimeter.USBMeter.Config(device=found[0], stop_provider=self))
            meter.setup_device()
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(
                f"the USB meter cannot be opened ({error})", "install the udev rule that usb-multimeter brings"
            ) from error
        self._is_stopped = False
        self._receiver = threading.Thread(target=self._receive, args=(meter,), name="USB meter", daemon=True)
        self._receiver.start()

    def _close(self) -> None:
        self._is_stopped = True
        if self._receiver is not None:
            self._receiver.join()
            self._receiver = None

    def _receive(self, meter: Any) -> None:
        try:
            meter.run(self)
        except Exception as error:
            self.fail(DeviceError(f"{self.name} gives no reading ({error})", "unplug it and plug it in again"))

    def should_stop(self) -> bool:
        """What usb-multimeter asks its stop provider."""
        return self._is_stopped

    def log(self, measurements: Sequence[Any]) -> None:
        """What usb-multimeter hands its logger: some values of the last 40 milliseconds."""
        watts = [float(m.voltage) * float(m.current) for m in measurements]
        self.push(sum(watts) / len(watts))
