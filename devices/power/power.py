"""The port to power sensors, and the search for one."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from multigraft.devices.power.curve import Curve
from multigraft.devices.power.rails import Accuracy, Rail


@runtime_checkable
class PowerMeter(Protocol):
    """Counts the energy that rails of this machine draw, between entering and leaving a ``with`` block.

    The unit is joules everywhere. Energy, not power, is the port: energy counters (RAPL) have nothing else, and power
    sensors are sampled and integrated behind it (:mod:`multigraft.devices.power.power_sampling`), where their rate is
    known.

    Attributes:
        name: The sensor and where it is, for reports.
        rails: What is counted, as the hardware calls it; their sum is what :meth:`energy_j` gives.
        tree: All rails that the sensor tells of, each with the one that feeds it. None of :attr:`rails` lies behind
            another.
        accuracy: How often that sum is made anew, and how far it may be off.
    """

    @property
    def name(self) -> str: ...

    @property
    def rails(self) -> tuple[str, ...]: ...

    @property
    def tree(self) -> tuple[Rail, ...]: ...

    @property
    def accuracy(self) -> Accuracy: ...

    def __enter__(self) -> Self:
        """Start counting from 0.

        Raises:
            DeviceError: The sensor does not answer or may not be read.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting."""
        ...

    def energy_j(self) -> float:
        """Joules drawn by all :attr:`rails` since the block was entered; it never falls.

        Raises:
            DeviceError: The sensor stopped answering, or the block is not entered.
        """
        ...

    def curve(self) -> Curve:
        """What was sampled since the block was entered; of a long time, the last minutes.

        Raises:
            DeviceError: The sensor stopped answering, or the block is not entered.
        """
        ...


def find_power_meter(sysfs_root: str | os.PathLike[str] = "/sys") -> tuple[PowerMeter | None, str]:
    """Look for a power sensor of this machine: the board's own first, then jetson-stats, a Pi's, the processor's.

    Args:
        sysfs_root: Where sysfs is mounted.

    Returns:
        The meter and "", or None and the reason why there is none, as a report prints it after "not measured".
    """
    from multigraft.devices.power.hwmon_meter import HwmonMeter
    from multigraft.devices.power.jtop_meter import JtopMeter
    from multigraft.devices.power.pmic_meter import PmicMeter
    from multigraft.devices.power.rapl_meter import RaplMeter

    reasons = []
    for meter in (HwmonMeter, JtopMeter, PmicMeter, RaplMeter):
        usable, reason = meter.find(sysfs_root)
        if usable is not None:
            return usable, ""
        reasons.append(reason)
    return None, "no power sensor: " + ", ".join(filter(None, reasons))
