"""Jetson boards through jetson-stats, where the sensor itself may not be read (containers)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, install_package


class JtopMeter(SampledMeter):
    """PowerMeter adapter: the total power that the jtop service reports (jetson-stats 4 and newer).

    The service updates about once a second: a window has to last many seconds to mean anything.

    Args:
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
    """

    rails = ("total of jtop",)
    name = "jtop (jetson-stats)"

    def __init__(self, interval_s: float | None = 0.5, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(self._power_mw, interval_s, clock)
        self._service: Any = None

    @classmethod
    def find(cls, sysfs_root: str | os.PathLike[str] = "/sys") -> tuple[Self | None, str]:
        """The meter and "", or None and the reason; "" where jetson-stats is not installed, as it is not on other
        boards."""
        try:
            meter = cls()
            with meter:
                pass
        except MissingDependencyError as error:
            return None, "" if isinstance(error.__cause__, ModuleNotFoundError) else str(error).rstrip(".")
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return meter, ""

    def __enter__(self) -> Self:
        try:
            import jtop
        except Exception as error:
            raise MissingDependencyError(
                f"reading power through jtop needs jetson-stats, which is {how_missing(error)}", install_extra("jetson")
            ) from error
        try:
            self._service = jtop.jtop()
            self._service.start()
            return super().__enter__()
        except DeviceError:
            self._close()
            raise
        except Exception as error:
            # jtop raises JtopException, OSError and others, depending on what its service lacks.
            self._close()
            raise DeviceError(
                f"jtop does not answer ({error})", "start its service: sudo systemctl restart jtop"
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._close()

    def _close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def _power_mw(self) -> float:
        try:
            return float(self._service.power["tot"]["power"])
        except (AttributeError, KeyError, TypeError) as error:
            raise DeviceError(
                "jtop reports no total power", f"update it; {install_package('jetson-stats>=4.3')}"
            ) from error
