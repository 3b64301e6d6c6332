"""What a power sensor measures: rails, how far their readings may be off, and which of them lie behind which.

A rail that feeds others already holds what they draw. Only rails without a measured parent are added up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multigraft.errors import UsageError

UNIT = "W"


@dataclass(frozen=True)
class Accuracy:
    """How far readings of power may be off.

    Attributes:
        interval_s: Between two values that sensor and sampling make anew, in seconds.
        gain: Largest error in proportion to the reading, the same in every reading.
        offset_w: Largest error in watts that is the same in every reading: it goes where idle power is subtracted.
        step_w: Between two readings that the sensor tells apart, in watts.
        is_random: Whether readings come at random moments. At a fixed pace, a load that repeats in step with it looks
            constant.
    """

    interval_s: float
    gain: float
    offset_w: float = 0.0
    step_w: float = 0.0
    is_random: bool = False

    @property
    def rate_hz(self) -> float:
        """New values a second."""
        return 1 / self.interval_s

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = {"rate_hz": round(self.rate_hz, 3), **dataclasses.asdict(self)}
        del plain["interval_s"]
        return plain


@dataclass(frozen=True)
class Rail:
    """One measured supply; its unit is the watt.

    Attributes:
        name: As the hardware calls it.
        accuracy: Of its readings.
        parent: The measured rail that feeds it; None where there is none.
        read_w: Watts now; raises DeviceError where the sensor does not answer. None where the meter counts joules.
    """

    name: str
    accuracy: Accuracy
    parent: str | None = None
    read_w: Callable[[], float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"name": self.name, "unit": UNIT, "parent": self.parent, **self.accuracy.to_json()}


FEEDS: Mapping[str, Sequence[str]] = {
    "VDDQ_VDD2_1V8AO": ("VIN_SYS_5V0",),
    "VDD_IN": ("VDD_MUX", "VIN"),
    "POM_5V_IN": ("VIN",),
    "VDD_MUX": ("VIN",),
    "VIN": (),
    **dict.fromkeys(("VDD_5V0_IO_SYS", "VDD_3V3_SYS", "VDD_3V3_IO_SLP", "VDD_1V8_IO", "VDD_3V3_SYS_M2"), ("VDD_MUX",)),
}
"""Rail of a Jetson to those that may feed it, the nearest first (NVIDIA's Jetson Linux Developer Guide and the carrier
boards' schematics): VDD_IN and POM_5V_IN feed the module, VDD_MUX the carrier board of TX1 and TX2, and VIN, an INA238
that jetson-stats calls so, all of a Thor."""

WHOLE_MACHINE = ("VDD_MUX", "VIN")
"""Rails of a Jetson that feed the carrier board, too, and with it all of the machine."""

MODULE_INPUTS = ("VDD_IN", "POM_5V_IN", "VDD_MUX", "VIN")
"""What feeds any other rail of a Jetson's INA3221."""


def feeder_of(name: str, measured: Iterable[str]) -> str | None:
    """The rail among ``measured`` that feeds the rail of this name on a Jetson; None where none does."""
    here = set(measured)
    return next((feeder for feeder in FEEDS.get(name, MODULE_INPUTS) if feeder in here and feeder != name), None)


def counted(rails: Sequence[Rail]) -> tuple[Rail, ...]:
    """Those that may be added up: none lies behind another of ``rails``."""
    names = {rail.name for rail in rails}
    return tuple(rail for rail in rails if rail.parent not in names - {rail.name})


def chosen(rails: Sequence[Rail], names: Sequence[str]) -> tuple[Rail, ...]:
    """The rails of these names, to be added up; all that :func:`counted` leaves where ``names`` is empty.

    Raises:
        UsageError: There is no such rail, or one of them lies behind another.
    """
    if not names:
        return counted(rails)
    by_name = {rail.name: rail for rail in rails}
    for name in names:
        if name not in by_name:
            raise UsageError(f"there is no rail {name}", f"choose from: {', '.join(by_name)}")
        above = by_name[name].parent
        while above is not None:
            if above in names:
                raise UsageError(f"rail {name} lies behind {above}, which holds it already", f"leave {name} out")
            above = by_name[above].parent if above in by_name else None
    return tuple(by_name[name] for name in dict.fromkeys(names))


def together(rails: Sequence[Rail]) -> Accuracy:
    """Of the sum of these rails: errors in proportion are those of the worst, constant ones add up."""
    accuracies = [rail.accuracy for rail in rails]
    return Accuracy(
        max(a.interval_s for a in accuracies),
        max(a.gain for a in accuracies),
        sum(a.offset_w for a in accuracies),
        sum(a.step_w for a in accuracies),
        all(a.is_random for a in accuracies),
    )
