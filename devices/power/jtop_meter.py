"""Jetson boards through jetson-stats, where the sensor itself may not be read (containers)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from multigraft.devices.power.ina_chips import CHIPS
from multigraft.devices.power.pushed_meter import PushedMeter
from multigraft.devices.power.rails import Accuracy, Rail, counted, feeder_of
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, install_package
from multigraft.reading import printable

FASTEST_S = 0.1
"""Between two updates that the service keeps up with; each reads all sensors of the board."""

PATIENCE = 5
"""Updates that may stay out before the service counts as gone, and 3 seconds at least."""

SERVICE = Path("/run/jtop.sock")
"""Is there while the service runs."""

_TOTAL = "total of jtop"
_RESTART = "start its service: sudo systemctl restart jtop"


class JtopMeter(PushedMeter):
    """PowerMeter adapter: what the jtop service reports (jetson-stats 4 and newer), a sample per update of the service.

    The first client of the service sets its pace, so where another is connected already, that one's holds.

    Args:
        interval_s: Between updates that the service is asked for.
        clock: Seconds, monotonic.
    """

    name = "jtop (jetson-stats)"

    def __init__(self, interval_s: float = FASTEST_S, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(Rail(_TOTAL, self._rated(interval_s)), clock)
        self._asked_s = interval_s
        self._service: Any = None

    @staticmethod
    def _rated(interval_s: float) -> Accuracy:
        return CHIPS["ina3221"].accuracy(interval_s)

    @classmethod
    def find(
        cls, sysfs_root: str | os.PathLike[str] = "/sys", interval_s: float = FASTEST_S
    ) -> tuple[Self | None, str]:
        """The meter and "", or None and the reason; "" where jetson-stats is not installed, as it is not on other
        boards."""
        try:
            meter = cls(interval_s)
            with meter:
                pass
        except MissingDependencyError as error:
            return None, "" if isinstance(error.__cause__, ModuleNotFoundError) else str(error).rstrip(".")
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return meter, ""

    def _open(self) -> None:
        try:
            import jtop
        except Exception as error:
            raise MissingDependencyError(
                f"reading power through jtop needs jetson-stats, which is {how_missing(error)}", install_extra("jetson")
            ) from error
        if not SERVICE.exists():
            # The client would ask systemd by three subprocesses, whose input it leaves open.
            raise DeviceError("jtop does not answer (its service does not run)", _RESTART)
        try:
            self._service = jtop.jtop(interval=self._asked_s)
            self._service.start()
            self._begin()
        except DeviceError:
            raise
        except Exception as error:
            # jtop raises JtopException, OSError and others, depending on what its service lacks.
            why = printable(str(error).strip().partition("\n")[0].partition(". ")[0]) or type(error).__name__
            raise DeviceError(
                f"jtop does not answer ({why})",
                _RESTART,
            ) from error

    def _begin(self) -> None:
        pace_s = float(getattr(self._service, "interval", 0) or self._asked_s)
        power = self._service.power
        tree = _tree(power, self._rated(pace_s if pace_s > 0 else self._asked_s))
        self._count(tree, counted(tree))
        self.push(_watts(power, self.rails))
        self._service.attach(self._update)

    def _close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def _check_silence(self, silent_s: float) -> None:
        if silent_s > max(3.0, PATIENCE * self.accuracy.interval_s):
            raise DeviceError(f"jtop has told nothing for {silent_s:.0f} seconds", _RESTART)

    def _update(self, service: Any) -> None:
        """Called by jtop's own thread, an update each; an error raised here would end that thread unseen."""
        try:
            watts = _watts(service.power, self.rails)
        except DeviceError as error:
            self.fail(error)
            return
        self.push(watts)


def _tree(power: Any, accuracy: Accuracy) -> tuple[Rail, ...]:
    """The rails that feed no other are added up here: jtop's own total holds parts of a rail besides it."""
    names = list(_rails(power))
    if not names:
        return (Rail(_TOTAL, accuracy),)
    return tuple(Rail(name, accuracy, feeder_of(name, names)) for name in names)


def _rails(power: Any) -> dict[str, Any]:
    """Rail to what jtop tells of it; the one that feeds all stands in its total, by name."""
    try:
        rails, total = dict(power["rail"]), power["tot"]
        # Batteries and USB-C sources are no rails of the board; they alone have a type or a state of charge.
        rails = {n: r for n, r in rails.items() if not {"status", "type", "charge"} & set(r)}
        return {total["name"]: total, **rails} if "name" in total else rails
    except (AttributeError, KeyError, TypeError):
        return {}


def _watts(power: Any, names: tuple[str, ...]) -> float:
    try:
        if names == (_TOTAL,):
            return float(power["tot"]["power"]) / 1000
        rails = _rails(power)
        return sum(float(rails[name]["power"]) for name in names) / 1000
    except (AttributeError, KeyError, TypeError) as error:
        raise DeviceError(
            "jtop reports no total power", f"update it; {install_package('jetson-stats>=4.3')}"
        ) from error
