"""Meters that send readings on their own, which a thread receives."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from multigraft.devices.power.power_sampling import SampledMeter
from multigraft.devices.power.rails import Rail
from multigraft.errors import DeviceError

PATIENCE_S = 3.0
"""Without a reading, before the meter counts as gone."""


class PushedMeter(SampledMeter):
    """Base of such meters.

    Args:
        rail: What is measured.
        clock: Seconds, monotonic.
        counts: Whether joules are sent and not watts.
    """

    def __init__(self, rail: Rail, clock: Callable[[], float] = time.perf_counter, counts: bool = False) -> None:
        super().__init__(lambda: self._last[1], (rail,), (rail,), None, clock, counts)
        self._is_open = False

    @property
    @abstractmethod
    def name(self) -> str: ...

    def _open(self) -> None:
        """Start the meter; from now on it calls :meth:`push`. Whatever it raises, :meth:`_close` is called."""
        raise NotImplementedError

    def _close(self) -> None:
        """Stop the meter."""
        raise NotImplementedError

    def push(self, value: float) -> None:
        """A reading: watts, or joules since some moment. Called by the receiving thread."""
        with self._lock:
            if self._is_entered:
                self._add(value)
            elif self._is_open:
                self._start(value)

    def fail(self, error: DeviceError) -> None:
        """The receiving thread can't go on."""
        self._error = error

    def __enter__(self) -> Self:
        self._error, self._is_entered, self._is_open = None, False, True
        try:
            self._open()
            began = time.monotonic()
            while not self._is_entered and self._error is None and time.monotonic() - began < PATIENCE_S:
                time.sleep(0.002)
            if not self._is_entered:
                raise self._error or DeviceError(f"{self.name} sends nothing", "unplug it and plug it in again")
        except BaseException:
            self._shut()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut()

    def _shut(self) -> None:
        self._close()
        with self._lock:
            # A reading that comes late begins nothing.
            self._is_entered = self._is_open = False

    def energy_j(self) -> float:
        """Joules since the block was entered, up to the last reading, whose power counts on."""
        with self._lock:
            self._check()
            if self._counts:
                return self._total_j
            then_s, watts = self._last
            return self._total_j + max(0.0, self._clock() - then_s) * max(0.0, watts)

    def _check(self) -> None:
        super()._check()
        self._check_silence(self._clock() - self._last[0])

    def _check_silence(self, silent_s: float) -> None:
        """Refuse a meter that has sent nothing for too long."""
        if silent_s > PATIENCE_S:
            raise DeviceError(
                f"{self.name} has sent nothing for {silent_s:.0f} seconds", "unplug it and plug it in again"
            )
