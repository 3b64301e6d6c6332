"""RDTech TC66 and TC66C USB meters over a serial port (tc66-serial)."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra

SAMPLE_S = 0.1
"""The meter answers within some tens of milliseconds, and makes about ten values a second."""

ACCURACY = Accuracy(SAMPLE_S, gain=0.015, offset_w=0.005, step_w=0.0001)
"""Nominal: voltage to 0.5 %, current to 1 % and some digits."""


class Tc66Meter(SampledMeter):
    """PowerMeter adapter: all that the board draws through the meter's plug.

    Args:
        port: Such as ``/dev/ttyACM0``.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, port: str, interval_s: float | None = SAMPLE_S, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        rail = Rail("USB", ACCURACY)
        super().__init__(self._watts, (rail,), (rail,), interval_s, clock)
        self._port = port
        self._client: Any = None

    @property
    def name(self) -> str:
        return f"TC66 on {self._port}"

    def __enter__(self) -> Self:
        try:
            import tc66_serial
        except Exception as error:
            raise MissingDependencyError(
                f"reading a TC66 needs tc66-serial, which is {how_missing(error)}", install_extra("meters")
            ) from error
        try:
            self._client = tc66_serial.Tc66Client(self._port, timeout=1.0)
            self._client.connect()
        except Exception as error:
            # pyserial's own errors, which are OSErrors, and others.
            self._client = None
            raise DeviceError(
                f"{self._port} cannot be opened ({error})", "plug the meter in, and add your user to the group dialout"
            ) from error
        try:
            return super().__enter__()
        except DeviceError:
            self._close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def _watts(self) -> float:
        if self._client is None:
            raise DeviceError("a power meter was read before it was started", "read it inside a with block")
        try:
            reading = self._client.get_reading()
        except Exception as error:
            raise DeviceError(f"{self.name} gives no reading ({error})", "unplug it and plug it in again") from error
        if not reading.is_valid:
            raise DeviceError(f"{self.name} gave a damaged reading", "use a shorter cable, or another port")
        return float(reading.voltage) * float(reading.current)
