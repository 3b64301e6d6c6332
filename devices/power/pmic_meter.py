"""Raspberry Pi 5: the power controller's own readings of twelve rails, through the firmware.

``vcgencmd pmic_read_adc`` prints ``VDD_CORE_A current(7)=1.4967A`` and ``VDD_CORE_V volt(15)=0.8768V`` for each; inputs
such as ``EXT5V_V`` have a voltage alone. Nothing measures the current into the board, so a fit makes it of the rails.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Self

from multigraft.devices.power.pmic_fit import PmicFit, known_fit
from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.errors import DeviceError

VCGENCMD = ("vcgencmd", "pmic_read_adc")
SAMPLE_S = 0.1
"""A call starts a process and asks the firmware: some 10 ms of one core."""

PARTS = 12
BOARD = "board (fit)"
_LINE = re.compile(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=([0-9.]+)[AV]")


class PmicMeter(SampledMeter):
    """PowerMeter adapter: what a Pi 5 draws, by a straight line from the sum of its rails.

    Args:
        fit: That line; None for the one kept by ``multigraft energy --calibrate``, or else the published one.
        command: What prints the readings.
        interval_s: Between samples; None samples only when the energy is read.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        fit: PmicFit | None = None,
        command: Sequence[str] = VCGENCMD,
        interval_s: float | None = SAMPLE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fit = fit = known_fit() if fit is None else fit
        self._command = tuple(command)
        board = Rail(BOARD, Accuracy(SAMPLE_S, fit.error))
        parts = tuple(Rail(name, board.accuracy, BOARD) for name in read_rails(self._command))
        super().__init__(self._watts, (board, *parts), (board,), interval_s, clock)

    @property
    def name(self) -> str:
        return f"Raspberry Pi power controller, {self.fit.board}"

    @classmethod
    def find(
        cls, sysfs_root: str | os.PathLike[str] = "/sys", command: Sequence[str] = VCGENCMD
    ) -> tuple[Self | None, str]:
        """The meter and "", or None and the reason; "" where there is no such command, as on other boards."""
        if str(sysfs_root) != "/sys" and command is VCGENCMD:
            return None, ""
        try:
            return cls(command=command), ""
        except FileNotFoundError:
            return None, ""
        except DeviceError as error:
            return None, str(error).rstrip(".")

    def rails_w(self) -> float:
        """Watts of all rails together, as the controller tells them."""
        return sum(read_rails(self._command).values())

    def _watts(self) -> float:
        return self.fit.watts(self.rails_w())


def read_rails(command: Sequence[str] = VCGENCMD) -> dict[str, float]:
    """Rail to watts.

    Raises:
        DeviceError: The firmware does not know the command (Pi 4 and older), or answers something else.
        FileNotFoundError: There is no such program.
    """
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, check=False)
    except FileNotFoundError:
        raise
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceError(f"{command[0]} does not answer ({error})", "add your user to the group video") from error
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, unit, value in _LINE.findall(said.stdout):
        (amperes if unit == "A" else volts)[name] = float(value)
    paired = {name: amperes[name] * volts[name] for name in amperes if name in volts}
    if len(paired) < PARTS:
        first = (said.stdout or said.stderr).strip().partition("\n")[0]
        raise DeviceError(
            f"{' '.join(command)} tells {len(paired)} rails of {PARTS} ({first or 'nothing'})",
            "measure with an INA sensor or a USB meter; only a Pi 5 has such a power controller",
        )
    return paired
