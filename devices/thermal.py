"""Temperature and throttling of the processor, where the system tells them."""

from __future__ import annotations

from pathlib import Path

from multigraft.devices.sysfs import read_text

SYS = Path("/sys")
THROTTLED_NOW = 0xF
"""Bits 0..3 of the Raspberry Pi firmware's state: under-voltage, frequency capped, throttled, soft limit, each now
(raspberrypi.com/documentation/computers/os.html, get_throttled)."""

_FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"


class Thermal:
    """Reads ``/sys``; nothing here needs a package or a right.

    Args:
        root: Where /sys is; another folder in tests.
    """

    def __init__(self, root: Path = SYS) -> None:
        self._root = root
        self._zones = sorted((root / "class" / "thermal").glob("thermal_zone*/temp"))

    def temperature_c(self) -> float | None:
        """The hottest zone in degrees Celsius; None where no zone can be read."""
        texts = [read_text(zone) for zone in self._zones]
        values = [int(t) / 1000 for t in texts if t is not None and t.lstrip("-").isdigit()]
        return max(values, default=None)

    def is_throttled(self) -> bool | None:
        """Whether the processor is slowed down now; None where the system does not tell (it does on Raspberry Pi)."""
        text = read_text(self._root / _FIRMWARE)
        if text is None:
            return None
        try:
            return bool(int(text, 16) & THROTTLED_NOW)
        except ValueError:
            return None
