"""Fitting a Pi 5's power controller against a meter before the board, under loads of several sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.cores import usable_cores
from multigraft.devices.power.pmic_fit import PmicFit
from multigraft.devices.power.pmic_meter import PmicMeter
from multigraft.devices.power.power import PowerMeter

ROUNDS = 4
"""Times that each load comes, so that warming up does not pass for a load."""

SETTLING = 0.3
"""Of each step, for both meters to follow."""


class Busy:
    """Keeps so many cores busy inside a ``with`` block, by products of numpy, which let other threads run."""

    def __init__(self, cores: int) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(cores)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        values = np.random.default_rng(0).random((192, 192))
        while not self._stop.is_set():
            values @ values


def calibrate(
    pmic: PmicMeter,
    reference: PowerMeter,
    seconds: float,
    load: Callable[[int], AbstractContextManager[object]] = Busy,
    cores: int | None = None,
) -> PmicFit:
    """Fit the board's watts to the rails': a pair of means from each step of load.

    Args:
        pmic: The controller.
        reference: A meter right before the board.
        seconds: How long it may take.
        load: Keeps a number of cores busy inside a block.
        cores: How many there are; None for all of this machine.

    Raises:
        DeviceError: A meter stopped answering.
        InputError: The pairs give no line.
    """
    cores = usable_cores() if cores is None else cores
    step_s = seconds / (ROUNDS * (cores + 1))
    rails_w, board_w = [], []
    with pmic, reference:
        for _ in range(ROUNDS):
            for busy in range(cores + 1):
                with load(busy):
                    time.sleep(step_s * SETTLING)
                    before = [_last(meter) for meter in (pmic, reference)]
                    time.sleep(step_s * (1 - SETTLING))
                    after = [_last(meter) for meter in (pmic, reference)]
                    fitted_w, drawn_w = (
                        (end_j - start_j) / (end_s - start_s)
                        for (start_s, start_j), (end_s, end_j) in zip(before, after, strict=True)
                    )
                    # The controller's joules have the old line in them; undone, they are the rails' own.
                    rails_w.append((fitted_w - pmic.fit.offset_w) / pmic.fit.slope)
                    board_w.append(drawn_w)
    return PmicFit.of(rails_w, board_w, reference.accuracy.gain)


def _last(meter: PowerMeter) -> tuple[float, float]:
    """When the last sample was taken, and joules up to it: each meter's own time, as one may be slow to answer."""
    meter.energy_j()
    curve = meter.curve()
    return float(curve.times_s[-1]), float(curve.energy_j[-1])
