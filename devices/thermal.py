"""Temperature and throttling of the processor, where the system tells them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from multigraft.devices.sysfs import read_text

SYS = Path("/sys")
THROTTLED_NOW = 0xF
"""Bits 0..3 of the Raspberry Pi firmware's state: under-voltage, frequency capped, throttled, soft limit, each now
(raspberrypi.com/documentation/computers/os.html, get_throttled)."""

HAS_OCCURRED = 0xF0000
"""Bits 16..19: the same, some time since the start or since somebody read them."""

VCGENCMD = ("vcgencmd", "get_throttled")
"""Prints ``throttled=0x50005`` on Raspberry Pi, whose kernel need not have the file."""

_FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"
_COUNTS = "devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
"""How often an x86 processor was slowed down since the start."""

_OVER_CURRENT = "class/hwmon/hwmon*/oc*_event_cnt"
"""How often a Jetson was slowed down since the start because it drew too much, or its supply gave too little (Jetson
Linux Developer Guide, over-current throttling)."""


class Thermal:
    """Reads ``/sys``; nothing here needs a package or a right.

    Args:
        root: Where /sys is; another folder in tests.
        command: What tells the firmware's state where there is no file for it.
    """

    def __init__(self, root: Path = SYS, command: Sequence[str] = VCGENCMD) -> None:
        self._root, self._command = root, tuple(command)
        self._zones = sorted((root / "class" / "thermal").glob("thermal_zone*/temp"))

    def temperature_c(self) -> float | None:
        """The hottest zone in degrees Celsius; None where no zone can be read."""
        texts = [read_text(zone) for zone in self._zones]
        values = [int(t) / 1000 for t in texts if t is not None and t.lstrip("-").isdigit()]
        return max(values, default=None)

    def is_throttled(self) -> bool | None:
        """Whether the processor is slowed down now; None where the system does not tell (it does on Raspberry Pi)."""
        state = self.firmware_state()
        return None if state is None else bool(state & THROTTLED_NOW)

    def firmware_state(self) -> int | None:
        """The bits of the Raspberry Pi firmware; None where there is none."""
        text = read_text(self._root / _FIRMWARE)
        if text is None:
            text = self._said().strip().removeprefix("throttled=")
        try:
            return int(text, 16)
        except ValueError:
            return None

    def throttle_counts(self) -> int | None:
        """How often the processor was slowed down since the start, all cores; None where it does not count."""
        texts = [read_text(path) for pattern in (_COUNTS, _OVER_CURRENT) for path in self._root.glob(pattern)]
        counts = [int(text) for text in texts if text is not None and text.isascii() and text.isdigit()]
        return sum(counts) if counts else None

    def _said(self) -> str:
        try:
            return subprocess.run(
                self._command, capture_output=True, text=True, errors="replace", timeout=5, check=False
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return ""


class ThrottlingWatch:
    """Whether the processor was slowed down between two moments; the first is when this is made.

    Args:
        thermal: What tells.
    """

    def __init__(self, thermal: Thermal | None = None) -> None:
        self._thermal = thermal or Thermal()
        self._state, self._counts = self._thermal.firmware_state(), self._thermal.throttle_counts()

    def was_throttled(self) -> bool | None:
        """Up to now; None where the system does not tell."""
        state, counts = self._thermal.firmware_state(), self._thermal.throttle_counts()
        told = []
        if state is not None and self._state is not None:
            told.append(bool((state | self._state) & THROTTLED_NOW or state & ~self._state & HAS_OCCURRED))
        if counts is not None and self._counts is not None:
            told.append(counts > self._counts)
        return any(told) if told else None
