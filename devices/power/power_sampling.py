"""From a power sensor to an energy meter: samples in the background, integrated by the trapezoid rule."""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.devices.power.curve import Curve
from multigraft.devices.power.rails import Accuracy, Rail, together
from multigraft.errors import DeviceError

KEPT_SAMPLES = 1 << 17
"""Of the curve: four minutes at 500 Hz, 3 MB. A service that counts for weeks needs the sum alone."""


class SampledMeter:
    """Base of meters that are read again and again.

    A thread reads the sensor at a random moment of every ``interval_s``: a load that repeats, at whatever period, can't
    stay in step with that. Each call of :meth:`energy_j` reads it once more, so that short windows are covered too.

    Args:
        read: Watts, summed over all counted rails; or, with ``counts``, joules that never fall.
        tree: All rails, each with the one that feeds it.
        counting: Those of them that are added up.
        interval_s: Between samples, in seconds; None samples only when :meth:`energy_j` is called.
        clock: Seconds, monotonic.
        counts: Whether ``read`` gives joules.
    """

    def __init__(
        self,
        read: Callable[[], float],
        tree: tuple[Rail, ...],
        counting: tuple[Rail, ...],
        interval_s: float | None,
        clock: Callable[[], float] = time.perf_counter,
        counts: bool = False,
    ) -> None:
        self._read = read
        self._count(tree, counting)
        self._interval_s = interval_s
        self._clock = clock
        self._counts = counts
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_entered = False
        self._last = (0.0, 0.0)
        self._total_j = 0.0
        self._each: tuple[float, ...] = ()
        """What ``read`` found last, of each counted rail; a subclass that knows more than the sum sets it there."""
        self._each_before: tuple[float, ...] = ()
        self._each_j: list[float] = []
        self._error: DeviceError | None = None
        self._samples = (array("d"), array("d"), array("d"))

    def _count(self, tree: tuple[Rail, ...], counting: tuple[Rail, ...]) -> None:
        self.tree = tree
        self.rails = tuple(rail.name for rail in counting)
        self._sensor = together(counting)

    @property
    def accuracy(self) -> Accuracy:
        """Of the sum over :attr:`rails`, with the pace at which this meter samples."""
        sensor = self._sensor
        interval_s = max(sensor.interval_s, self._interval_s or 0.0)
        return Accuracy(interval_s, sensor.gain, sensor.offset_w, sensor.step_w, self._interval_s is not None)

    def __enter__(self) -> Self:
        first = self._read()
        with self._lock:
            self._start(first)
        if self._interval_s is not None:
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._sample, args=(self._interval_s,), name="power meter", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._is_entered = False

    def energy_j(self) -> float:
        """Joules since the block was entered."""
        with self._lock:
            self._check()
            self._add(self._read())
            return self._total_j

    def rails_j(self) -> dict[str, float]:
        """Joules of each of :attr:`rails` since the block was entered, as of the last sample.

        Empty where the sensor tells their sum alone.
        """
        with self._lock:
            self._check()
            if len(self._each_j) != len(self.rails):
                return {}
            return dict(zip(self.rails, self._each_j, strict=True))

    def curve(self) -> Curve:
        """What was sampled since the block was entered, the last minutes of it."""
        with self._lock:
            self._check()
            times, joules, watts = (np.array(samples) for samples in self._samples)
        return Curve(times, joules, watts)

    def _start(self, first: float) -> None:
        self._total_j, self._error, self._is_entered = 0.0, None, True
        self._samples = (array("d"), array("d"), array("d"))
        self._last = (self._clock(), first)
        self._each_before, self._each_j = self._each, [0.0] * len(self._each)
        self._keep(0.0 if self._counts else first)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._is_entered:
            raise DeviceError("a power meter was read before it was started", "read it inside a with block")

    def _add(self, value: float) -> None:
        then_s, before = self._last
        now_s = max(then_s, self._clock())
        spent_s = now_s - then_s
        drawn_j = value - before if self._counts else spent_s * max(0.0, before + value) / 2
        self._total_j += max(0.0, drawn_j)
        for place, (old, new) in enumerate(zip(self._each_before, self._each, strict=True)):
            drawn = new - old if self._counts else spent_s * max(0.0, old + new) / 2
            self._each_j[place] += max(0.0, drawn)
        self._each_before = self._each
        self._last = (now_s, value)
        if spent_s:
            self._keep(drawn_j / spent_s if self._counts else value)

    def _keep(self, power_w: float) -> None:
        times, joules, watts = self._samples
        times.append(self._last[0])
        joules.append(self._total_j)
        watts.append(power_w)
        if len(times) >= 2 * KEPT_SAMPLES:
            for samples in self._samples:
                del samples[:KEPT_SAMPLES]

    def _sample(self, interval_s: float) -> None:
        began, number = time.perf_counter(), 0
        while True:
            # One moment of each interval: stratified sampling, which is unbiased and steadier than waiting at random.
            number = max(number + 1, int((time.perf_counter() - began) / interval_s))
            due = began + (number + random.random()) * interval_s
            if self._stop.wait(max(0.0, due - time.perf_counter())):
                return
            try:
                self.energy_j()
            except DeviceError as error:
                # Kept for the next energy_j(): an error raised here would end the thread unseen.
                self._error = error
                return
