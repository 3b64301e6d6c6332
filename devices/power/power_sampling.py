"""From a power sensor to an energy meter: samples in the background, integrated by the trapezoid rule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from multigraft.errors import DeviceError


class SampledMeter:
    """Base of meters whose hardware tells power only.

    A thread reads the sensor every ``interval_s``; each call of :meth:`energy_j` reads it once more, so that short
    windows are covered too. A window shorter than the sensor's own averaging time is as good as one reading.

    Args:
        read_power_mw: Milliwatts, summed over all rails.
        interval_s: Between samples, in seconds; None samples only when :meth:`energy_j` is called.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        read_power_mw: Callable[[], float],
        interval_s: float | None = 0.02,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._read = read_power_mw
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0
        self._error: DeviceError | None = None

    def __enter__(self) -> Self:
        self._total_j, self._error = 0.0, None
        self._last = (self._clock(), self._read())
        if self._interval_s is not None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._sample, name="power meter", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._last = None

    def energy_j(self) -> float:
        """Joules since the block was entered."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._last is None:
                raise DeviceError("a power meter was read before it was started", "read it inside a with block")
            then_s, before_mw = self._last
            now_s, now_mw = self._clock(), self._read()
            self._total_j += max(0.0, now_s - then_s) * max(0.0, before_mw + now_mw) / 2 / 1000
            self._last = (now_s, now_mw)
            return self._total_j

    def _sample(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.energy_j()
            except DeviceError as error:
                # Kept for the next energy_j(): an error raised here would end the thread unseen.
                self._error = error
                return
