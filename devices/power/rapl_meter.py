"""Energy counters of x86 processors: RAPL through the Linux powercap interface.

Linux, Documentation/power/powercap/powercap.rst: ``energy_uj`` counts microjoules and starts again from 0 after
``max_energy_range_uj``. Intel and AMD processors both appear as ``intel-rapl``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from multigraft.devices.sysfs import read_number, read_text
from multigraft.errors import DeviceError


class RaplMeter:
    """PowerMeter adapter: the sum over all processor packages, without what lies outside them (memory, disk, display).

    A counter may wrap once between two readings: at 100 W that allows about 40 minutes.

    Args:
        zones: Folders of powercap zones, each with ``energy_uj``.
    """

    def __init__(self, zones: tuple[Path, ...]) -> None:
        self._zones = zones
        self._ranges_uj = tuple(read_number(zone / "max_energy_range_uj") for zone in zones)
        self.rails = tuple(read_text(zone / "name") or zone.name for zone in zones)
        self._last_uj: tuple[int, ...] | None = None
        self._total_uj = 0

    @classmethod
    def find(cls, sysfs_root: str | os.PathLike[str] = "/sys") -> tuple[Self | None, str]:
        """The meter over all packages and "", or None and the reason."""
        folder = Path(sysfs_root) / "class/powercap"
        # Subzones (intel-rapl:0:0) are contained in their package; psys and the -mmio twins would count it twice.
        zones = tuple(
            zone
            for zone in sorted(folder.glob("intel-rapl:*"))
            if re.fullmatch(r"intel-rapl:\d+", zone.name) and (read_text(zone / "name") or "").startswith("package")
        )
        if not zones:
            return None, "no RAPL energy counter (powercap)"
        try:
            meter = cls(zones)
            meter._read()
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return meter, ""

    @property
    def name(self) -> str:
        return f"RAPL {' + '.join(self.rails)}"

    def _read(self) -> tuple[int, ...]:
        return tuple(read_number(zone / "energy_uj") for zone in self._zones)

    def __enter__(self) -> Self:
        self._total_uj, self._last_uj = 0, self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last_uj = None

    def energy_j(self) -> float:
        """Joules since the block was entered."""
        if self._last_uj is None:
            raise DeviceError("a power meter was read before it was started", "read it inside a with block")
        now = self._read()
        for before, after, limit in zip(self._last_uj, now, self._ranges_uj, strict=True):
            self._total_uj += after - before if after >= before else after + limit - before
        self._last_uj = now
        return self._total_uj / 1e6
