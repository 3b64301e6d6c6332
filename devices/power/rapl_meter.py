"""Energy counters of x86 processors: RAPL through the Linux powercap interface.

Linux, Documentation/power/powercap/powercap.rst: ``energy_uj`` counts microjoules and starts again from 0 after
``max_energy_range_uj``. Intel and AMD processors both appear as ``intel-rapl``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.devices.sysfs import read_number, read_text
from multigraft.errors import DeviceError

SAMPLE_S = 0.02
"""Often enough that a counter can't wrap twice unseen, and for a curve to look at."""

ACCURACY = Accuracy(interval_s=0.001, gain=0.05)
"""Counters change a thousand times a second; no maker states an error. 5 % holds what Khan et al. (RAPL in Action, ACM
TOMPECS 3, 2018) measured against a wall meter."""


class RaplMeter(SampledMeter):
    """PowerMeter adapter: the sum over all processor packages, without what lies outside them (memory, disk, display).

    Args:
        zones: Folders of powercap zones, each with ``energy_uj``.
        interval_s: Between samples; None reads only when the energy is read, which may be 40 minutes apart at 100 W.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        zones: tuple[Path, ...],
        interval_s: float | None = SAMPLE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._zones = zones
        self._ranges_uj = tuple(read_number(zone / "max_energy_range_uj") for zone in zones)
        self._last_uj: tuple[int, ...] | None = None
        self._totals_uj = [0] * len(zones)
        rails = tuple(Rail(read_text(zone / "name") or zone.name, ACCURACY) for zone in zones)
        super().__init__(self._counted_j, rails, rails, interval_s, clock, counts=True)

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
            meter._counted_j()
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return meter, ""

    @property
    def name(self) -> str:
        return f"RAPL {' + '.join(self.rails)}"

    def _counted_j(self) -> float:
        """Joules since the first call."""
        now = tuple(read_number(zone / "energy_uj") for zone in self._zones)
        for place, (before, after, limit) in enumerate(zip(self._last_uj or now, now, self._ranges_uj, strict=True)):
            self._totals_uj[place] += after - before if after >= before else after + limit - before
        self._last_uj = now
        self._each = tuple(total / 1e6 for total in self._totals_uj)
        return sum(self._totals_uj) / 1e6
