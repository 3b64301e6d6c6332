"""A microphone without hardware: syllables and breath that depend on nothing but its settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.errors import UsageError
from multigraft.sounds.log_mel import Samples


class FakeMicrophone(SourceWithoutDevice):
    """Microphone adapter: every half second a falling buzz of another pitch, and noise between.

    Sample ``i`` is a function of ``i`` and the arguments alone.

    Args:
        rate_hz: Samples a second.
        seed: Seed of the pitches and the noise.
        seconds: How long it lasts; None for a microphone that never ends.
    """

    def __init__(self, rate_hz: int = 16_000, seed: int = 0, seconds: float | None = None) -> None:
        if rate_hz < 100 or seed < 0 or (seconds is not None and seconds <= 0):
            raise UsageError(
                f"a fake microphone of {rate_hz} Hz, seed {seed} and {seconds} seconds", "give positive numbers"
            )
        self._rate_hz, self._seed, self._seconds = rate_hz, seed, seconds

    @property
    def name(self) -> str:
        return f"fake microphone at {self._rate_hz} Hz, seed {self._seed}"

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    def __iter__(self) -> Iterator[Samples]:
        left = None if self._seconds is None else round(self._seconds * self._rate_hz)
        number = 0
        while left is None or left > 0:
            block = self.syllable(number)[:left]
            left = None if left is None else left - len(block)
            number += 1
            yield block

    def syllable(self, number: int) -> Samples:
        """Half a second, counted from 0: int16."""
        random = np.random.default_rng((self._seed, number))
        count = self._rate_hz // 2
        at = np.arange(count)
        period = self._rate_hz // int(random.integers(90, 260)) + at // (self._rate_hz // 40)
        buzz = (at % period) * 12_000 // period - 6_000
        sounding = np.where(at < count * 3 // 4, buzz, 0)
        samples: Samples = (sounding + random.integers(-200, 201, count)).astype(np.int16)
        return samples
