"""Texas Instruments power sensors in sysfs: INA3221 on Jetson boards, INA2xx on Raspberry Pi HATs and carriers.

Linux, Documentation/hwmon/ina3221.rst and ina2xx.rst: ``inN_input`` in mV, ``currN_input`` in mA, ``powerN_input`` in
uW, ``inN_label`` names a rail of the INA3221; its in4 to in6 are shunt voltages and in7 their sum.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.sysfs import read_number, read_text
from multigraft.errors import DeviceError

INA2XX = ("ina209", "ina219", "ina220", "ina226", "ina228", "ina230", "ina231", "ina233", "ina237", "ina238", "ina260")

INPUT_RAILS = ("VDD_IN", "POM_5V_IN")
"""Rails that feed the whole module (Jetson Orin Nano, Orin NX, Xavier NX; Nano, TX1): the others lie behind them."""

INA3221_CHANNELS = (1, 2, 3)


@dataclass(frozen=True)
class Rail:
    """One measured supply: ``power`` is a file in uW, or ``voltage`` in mV and ``current`` in mA are multiplied."""

    name: str
    power: Path | None = None
    voltage: Path | None = None
    current: Path | None = None

    def power_mw(self) -> float:
        """Milliwatts now.

        Raises:
            DeviceError: The sensor does not answer.
        """
        if self.power is not None:
            return read_number(self.power) / 1000
        assert self.voltage is not None and self.current is not None
        return read_number(self.voltage) * read_number(self.current) / 1000


class HwmonMeter(SampledMeter):
    """PowerMeter adapter: the rail that feeds the module where there is one, otherwise the sum of all rails.

    Args:
        measured: The rails to add up.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        measured: tuple[Rail, ...],
        interval_s: float | None = 0.02,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(lambda: sum(rail.power_mw() for rail in measured), interval_s, clock)
        self.rails = tuple(rail.name for rail in measured)

    @property
    def name(self) -> str:
        return f"INA sensor on {' + '.join(self.rails)}"

    @classmethod
    def find(cls, sysfs_root: str | os.PathLike[str] = "/sys") -> tuple[Self | None, str]:
        """The meter over the board's rails and "", or None and the reason."""
        measured = []
        for folder in sorted((Path(sysfs_root) / "class/hwmon").glob("hwmon*")):
            chip = read_text(folder / "name")
            if chip == "ina3221":
                measured += _ina3221(folder)
            elif chip in INA2XX and (folder / "power1_input").exists():
                measured.append(Rail(f"{chip} {folder.name}", power=folder / "power1_input"))
        if not measured:
            return None, "no INA sensor (hwmon)"
        whole = [rail for rail in measured if rail.name in INPUT_RAILS]
        chosen = tuple(whole[:1] or measured)
        try:
            for rail in chosen:
                rail.power_mw()
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return cls(chosen), ""


def _ina3221(folder: Path) -> list[Rail]:
    rails = []
    for channel in INA3221_CHANNELS:
        voltage, current = folder / f"in{channel}_input", folder / f"curr{channel}_input"
        label = read_text(folder / f"in{channel}_label") or f"ina3221 {folder.name} channel {channel}"
        # NC: not connected, Jetson AGX Orin's unused channel.
        if voltage.exists() and current.exists() and label != "NC":
            rails.append(Rail(label, voltage=voltage, current=current))
    return rails
