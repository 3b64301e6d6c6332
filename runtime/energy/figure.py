"""A figure in joules with what bounds it, and Student's distribution, which the bound needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

CONFIDENCE = 0.95
"""What a bound states."""

ASKED = 0.98
"""What is asked of Student's distribution for it: a few windows whose errors are not normal hold less than it says."""

_STATED = f"{CONFIDENCE * 100:.0f} %"
_HALVINGS = 60


@dataclass(frozen=True)
class Figure:
    """Joules, idle power subtracted.

    Attributes:
        value_j: The mean over the windows.
        sampling_j: How far chance (which samples were taken, what else the machine did) may have moved it, at
            :data:`CONFIDENCE`.
        sensor_j: How far the sensor may be off, at most.
        windows: How many windows it is the mean of.
        repetitions: Frames, or runs of a part, in all of them.
    """

    value_j: float
    sampling_j: float
    sensor_j: float
    windows: int
    repetitions: int

    @property
    def bound_j(self) -> float:
        """The truth lies within this of :attr:`value_j`, at :data:`CONFIDENCE`."""
        return self.sampling_j + self.sensor_j

    @property
    def relative(self) -> float:
        """The bound in proportion to the figure."""
        return self.bound_j / abs(self.value_j) if self.value_j else math.inf

    def __str__(self) -> str:
        if self.relative < 1:
            percent = self.relative * 100
            shown = math.ceil(percent * 10) / 10 if percent < 10 else math.ceil(percent)
            return f"{joules(self.value_j)} ± {shown:g} % ({_STATED})"
        return f"{joules(self.value_j)} ± {joules(self.bound_j)} ({_STATED})"

    def scaled(self, factor: float) -> Figure:
        """Of so many times as much."""
        return replace(
            self,
            value_j=self.value_j * factor,
            sampling_j=self.sampling_j * factor,
            sensor_j=self.sensor_j * factor,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "energy_j": self.value_j,
            "bound_j": self.bound_j,
            "sampling_j": self.sampling_j,
            "sensor_j": self.sensor_j,
            "confidence": CONFIDENCE,
            "windows": self.windows,
            "repetitions": self.repetitions,
        }


def joules(value: float) -> str:
    """Three digits, in J, mJ or µJ."""
    for unit, factor in (("J", 1.0), ("mJ", 1e3), ("µJ", 1e6)):
        if abs(value) * factor >= 1 or unit == "µJ":
            break
    digits = max(0, 2 - math.floor(math.log10(abs(value) * factor))) if value else 0
    return f"{value * factor:.{min(digits, 3)}f} {unit}"


def student_quantile(degrees: int, confidence: float = ASKED) -> float:
    """What Student's t stays within on both sides with this probability.

    Args:
        degrees: Of freedom, at least 1.
        confidence: Between 0 and 1.
    """
    low, high = 0.0, 1.0
    while _within(high, degrees) < confidence:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _within(t: float, degrees: int) -> float:
    """Probability of less than ``t`` in size: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    square = math.cos(angle) ** 2
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= square * k / (k + 1)
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + math.sin(angle) * total)
