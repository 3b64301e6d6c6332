"""A board whose time is made up: it draws a known wave while it works, and a meter samples that at a known pace."""

from __future__ import annotations

import bisect
import random
from array import array
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.devices.power.curve import Curve
from multigraft.devices.power.rails import Accuracy, Rail

REST_W = 1.0
LOW_W = 2.0
HIGH_W = 6.0


class SimulatedBoard:
    """Clock, load and meter in one.

    While it works, frames of ``period_s`` follow each other: the first half of each draws 6 W, the second 2 W.

    Args:
        period_s: Of a frame.
        accuracy: What the meter states; the error it has is drawn from within that.
        chance: Decides when samples are taken, and the sensor's error.
        noise_w: Of each reading.
    """

    name = "simulated"
    rails = ("all",)

    def __init__(self, period_s: float, accuracy: Accuracy, chance: random.Random, noise_w: float = 0.02) -> None:
        self.period_s, self.accuracy, self._chance, self._noise_w = period_s, accuracy, chance, noise_w
        self.tree = (Rail("all", accuracy),)
        self.now_s = chance.random()
        self._frames: list[float] = []
        self._gain = 1 + accuracy.gain * chance.choice((-1, 1))
        self._offset_w = accuracy.offset_w * chance.choice((-1, 1))
        self._first_s = self._last_s = self.now_s
        self._times = array("d")
        self._watts = array("d")

    @property
    def truth_j(self) -> float:
        """Of a frame, above rest."""
        return ((LOW_W + HIGH_W) / 2 - REST_W) * self.period_s

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def frame(self) -> None:
        self._frames.append(self.now_s)
        self.now_s += self.period_s

    def power_w(self, moment_s: float) -> float:
        number = bisect.bisect_right(self._frames, moment_s) - 1
        since_s = moment_s - self._frames[number] if number >= 0 else self.period_s
        if since_s >= self.period_s:
            return REST_W
        return HIGH_W if since_s < self.period_s / 2 else LOW_W

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def energy_j(self) -> float:
        return float(self.curve().energy_j[-1])

    def curve(self) -> Curve:
        step_s = self.accuracy.interval_s
        while self._last_s + step_s < self.now_s:
            late_s = self._chance.random() * step_s if self.accuracy.is_random else 0.0
            moment_s = self._last_s + late_s
            seen_w = self.power_w(moment_s) + self._chance.gauss(0, self._noise_w)
            self._times.append(moment_s)
            self._watts.append(max(0.0, self._read(seen_w * self._gain + self._offset_w)))
            self._last_s += step_s
        return Curve.of_power(np.array(self._times), np.array(self._watts))

    def _read(self, watts: float) -> float:
        step_w = self.accuracy.step_w
        return round(watts / step_w) * step_w if step_w else watts
