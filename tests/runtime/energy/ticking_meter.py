"""A board whose clock moves when it is looked at: any call takes four milliseconds and draws what it is told."""

from __future__ import annotations

from array import array
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.devices.power.curve import Curve
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.runtime.energy.windows import Bench

REST_W = 1.0
WORK_W = 3.0
TICK_S = 0.004


class TickingMeter:
    """PowerMeter with a clock of its own: whoever asks for the time works, whoever sleeps rests."""

    name = "ticking"
    rails = ("all",)

    def __init__(self, accuracy: Accuracy | None = None) -> None:
        self.accuracy = accuracy or Accuracy(0.001, gain=0.01, is_random=True)
        self.tree = (Rail("all", self.accuracy),)
        self._times, self._joules, self._watts = array("d", [0]), array("d", [0]), array("d", [REST_W])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _pass(self, seconds: float, watts: float) -> None:
        self._times.append(self._times[-1] + seconds)
        self._joules.append(self._joules[-1] + seconds * watts)
        self._watts.append(watts)

    def clock(self) -> float:
        self._pass(TICK_S, WORK_W)
        return self._times[-1]

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._pass(seconds, REST_W)

    def energy_j(self) -> float:
        return self._joules[-1]

    def curve(self) -> Curve:
        return Curve(np.array(self._times), np.array(self._joules), np.array(self._watts))

    def bench(self) -> Bench:
        return Bench(self, self.clock, self.sleep)
