"""Texas Instruments power sensors in sysfs: INA3221 on Jetson boards, INA2xx on Raspberry Pi HATs and carriers.

Linux, Documentation/hwmon/ina3221.rst and ina2xx.rst: ``inN_input`` in mV, ``currN_input`` in mA, ``powerN_input`` in
uW, ``inN_label`` names a rail of the INA3221; its in4 to in6 are shunt voltages and in7 their sum. Up to JetPack 4
NVIDIA's own driver shows the INA3221 as ``i2c/devices/6-0040/iio:device0``: ``rail_name_N``, and ``in_powerN_input``
in mW.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from multigraft.devices.power.ina_chips import CHIPS, USUAL_SHUNT_OHM
from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Rail, chosen, feeder_of
from multigraft.devices.sysfs import read_number, read_text
from multigraft.errors import DeviceError

SAMPLE_S = 0.002
"""500 readings a second: readings once a second err by up to 80 % on loads of milliseconds (arXiv 2206.10377)."""

INA3221_CHANNELS = (1, 2, 3)

UPDATE_S = {"ina3221": 0.0066, "ina219": 0.001064, "ina226": 0.0022, "ina228": 0.0022, "ina238": 0.0022}
"""Between new values, nominally, as the drivers set the chips up, where ``update_interval`` does not tell."""


class HwmonMeter(SampledMeter):
    """PowerMeter adapter: the rails that no other measured rail feeds.

    Args:
        tree: All rails there are.
        names: Those to add up; none for all that lie behind no other.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.

    Raises:
        UsageError: A name is no rail, or names a part of another.
    """

    def __init__(
        self,
        tree: Sequence[Rail],
        names: Sequence[str] = (),
        interval_s: float | None = SAMPLE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        counting = chosen(tree, names)
        self._readers = [rail.read_w for rail in counting if rail.read_w is not None]
        super().__init__(self._watts, tuple(tree), counting, interval_s, clock)

    @property
    def name(self) -> str:
        return f"INA sensor on {' + '.join(self.rails)}"

    def _watts(self) -> float:
        self._each = tuple(read() for read in self._readers)
        return sum(self._each)

    @classmethod
    def find(
        cls,
        sysfs_root: str | os.PathLike[str] = "/sys",
        names: Sequence[str] = (),
        interval_s: float | None = SAMPLE_S,
    ) -> tuple[Self | None, str]:
        """The meter over the board's rails and "", or None and the reason."""
        tree = rails_of(Path(sysfs_root))
        if not tree:
            return None, "no INA sensor (hwmon)"
        meter = cls(tree, names, interval_s)
        try:
            meter._read()
        except DeviceError as error:
            return None, str(error).rstrip(".")
        return meter, ""


def rails_of(root: Path) -> tuple[Rail, ...]:
    """All rails that sensors of this machine measure, each with the one that feeds it.

    Args:
        root: Where sysfs is mounted.
    """
    found: dict[str, Rail] = {}
    inside: set[str] = set()
    for rail, is_of_board in _rails(root):
        name = rail.name if rail.name not in found else f"{rail.name} ({len(found)})"
        found[name] = replace(rail, name=name)
        if is_of_board:
            inside.add(name)
    return tuple(replace(rail, parent=feeder_of(n, found) if n in inside else None) for n, rail in found.items())


def _rails(root: Path) -> Iterator[tuple[Rail, bool]]:
    """Each rail, and whether it is one of a Jetson's own tree."""
    devices = root / "bus/i2c/devices"
    for folder in sorted(devices.glob("*/iio:device*")):
        if (read_text(folder.parent / "name") or "").startswith("ina3221"):
            yield from ((rail, True) for rail in _of_jetpack_4(folder))
    seen = set()
    for folder in (*sorted((root / "class/hwmon").glob("hwmon*")), *sorted(devices.glob("*/hwmon/hwmon*"))):
        chip = read_text(folder / "name")
        if chip not in CHIPS or folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        if chip == "ina3221":
            yield from ((rail, True) for rail in _ina3221(folder))
        elif (folder / "power1_input").exists():
            rail = _ina2xx(folder, chip)
            yield rail, chip == "ina238"


def _of_jetpack_4(folder: Path) -> Iterator[Rail]:
    accuracy = CHIPS["ina3221"].accuracy(UPDATE_S["ina3221"])
    for label in sorted(folder.glob("rail_name_*")):
        number = label.name.removeprefix("rail_name_")
        power, name = folder / f"in_power{number}_input", read_text(label)
        if name and name != "NC" and power.exists():
            yield Rail(name, accuracy, read_w=functools.partial(_file_w, power, 1000))


def _ina3221(folder: Path) -> Iterator[Rail]:
    for channel in INA3221_CHANNELS:
        voltage, current = folder / f"in{channel}_input", folder / f"curr{channel}_input"
        label = read_text(folder / f"in{channel}_label") or f"ina3221 {folder.name} channel {channel}"
        # NC: not connected, Jetson AGX Orin's unused channel.
        if voltage.exists() and current.exists() and label != "NC":
            shunt = _shunt_ohm(folder / f"shunt{channel}_resistor")
            accuracy = CHIPS["ina3221"].accuracy(_update_s(folder, "ina3221"), shunt, _volts(voltage))
            yield Rail(label, accuracy, read_w=functools.partial(_product_w, voltage, current))


def _ina2xx(folder: Path, chip: str) -> Rail:
    label = read_text(folder / "power1_label") or read_text(folder / "in1_label") or read_text(folder / "label")
    usual = "VIN" if chip == "ina238" else f"{chip} {folder.name}"
    accuracy = CHIPS[chip].accuracy(
        _update_s(folder, chip), _shunt_ohm(folder / "shunt_resistor"), _volts(folder / "in1_input")
    )
    return Rail(label or usual, accuracy, read_w=functools.partial(_file_w, folder / "power1_input", 1_000_000))


def _file_w(path: Path, per_watt: int) -> float:
    return read_number(path) / per_watt


def _product_w(voltage: Path, current: Path) -> float:
    return read_number(voltage) * read_number(current) / 1_000_000


def _shunt_ohm(path: Path) -> float:
    """Files are in microohms."""
    value = _positive(path)
    return value / 1_000_000 if value else USUAL_SHUNT_OHM


def _update_s(folder: Path, chip: str) -> float:
    """The file is in whole milliseconds."""
    value = _positive(folder / "update_interval")
    return max(value, 1) / 1000 if value else UPDATE_S.get(chip, 0.0022)


def _volts(path: Path) -> float:
    value = _positive(path)
    return value / 1000 if value else 5.0


def _positive(path: Path) -> int:
    text = read_text(path) or ""
    return int(text) if text.isascii() and text.isdigit() else 0
