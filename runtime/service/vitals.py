"""What is looked at once a second, beside the loop: power, temperature, memory, descriptors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multigraft.devices.thermal import Thermal
from multigraft.runtime.service.power import Power

INTERVAL_S = 1.0
THROTTLING_EVERY = 5
"""Rounds: on some boards a program is started to ask."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


class Vitals:
    """Keeps the latest readings.

    Args:
        power: The meter.
        thermal: Temperature and throttling.
        each: Is called after every round, in this thread; may be set before :meth:`start`.
    """

    def __init__(self, power: Power, thermal: Thermal | None = None, each: Callable[[], None] = lambda: None) -> None:
        self._power, self._thermal = power, thermal or Thermal()
        self.each = each
        self._stopped = threading.Event()
        self.is_known = False
        """Whether a round is done."""
        self._thread = threading.Thread(target=self._run, name="vitals", daemon=True)
        self._now: dict[str, Any] = {
            "power": [], "temperature_c": None, "throttled": None,
            "memory_bytes": memory_bytes(), "descriptors": descriptors(),
        }  # fmt: skip

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Give the sensor back."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(3.0)

    def to_json(self) -> dict[str, Any]:
        """The latest readings, as plain data."""
        return dict(self._now)

    def _run(self) -> None:
        rounds = 0
        throttled = None
        while not self._stopped.wait(INTERVAL_S if rounds else 0.0):
            if rounds % THROTTLING_EVERY == 0:
                throttled = self._thermal.is_throttled()
            rounds += 1
            self._now = {
                "power": [reading.to_json() for reading in self._power.read()],
                "temperature_c": self._thermal.temperature_c(),
                "throttled": throttled,
                "memory_bytes": memory_bytes(),
                "descriptors": descriptors(),
            }
            self.is_known = True
            self.each()
        self._power.close()


def memory_bytes() -> int:
    """Resident memory of this process, without what it shares with files on the disk; 0 where the system is silent."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = _STATM.read_text("ascii").split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    return 0


def descriptors() -> int:
    """Files and sockets that this process holds; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in _DESCRIPTORS.iterdir())
    return 0
