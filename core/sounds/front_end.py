"""What a log-mel front end is: its parameters, and the usual ones by name.

A front end turns samples into rows, one every ``step`` samples, each of ``bands`` numbers: ``window`` samples are
weighted with a periodic Hann window, put before zeros to ``fft`` samples and transformed; the squared magnitudes are
summed under triangles, and the natural logarithm of each sum is taken.

The triangles' corners lie evenly on the mel scale ``2595 log10(1 + f / 700)`` from ``low_hz`` to ``high_hz``; their
sides are straight in hertz and their tips are 1. So do ``torchaudio.transforms.MelSpectrogram(center=False)`` as it is,
and ``librosa.feature.melspectrogram(htk=True, norm=None, center=False)``. Samples count as -1 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from multigraft.errors import ConfigurationError

MOST_RATE_HZ = 192_000
LARGEST_FFT = 4096
"""Samples: sums of a longer one would leave too few bits below the smallest sound."""
MOST_BANDS = 256
UNITS_PER_NAT = 1024
"""A feature is stored in this part of a natural logarithm's unit."""


@dataclass(frozen=True)
class FrontEnd:
    """The parameters of a log-mel front end.

    Attributes:
        rate_hz: Samples a second.
        window: Samples that a row is made of.
        step: Samples from one row to the next.
        fft: Length of the transform, a power of two, at least ``window``.
        bands: Numbers in a row.
        low_hz: Lower corner of the first triangle.
        high_hz: Upper corner of the last.
        floor: Added to a sum before its logarithm, so that silence has one.

    Raises:
        ConfigurationError: A parameter is out of its range, or a triangle is so narrow that no frequency of the
            transform lies in it.
    """

    rate_hz: int
    window: int
    step: int
    fft: int
    bands: int
    low_hz: float
    high_hz: float
    floor: float = 1e-6

    def __post_init__(self) -> None:
        for name, most in (("rate_hz", MOST_RATE_HZ), ("window", LARGEST_FFT), ("bands", MOST_BANDS)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigurationError(f"sound: {name} is {getattr(self, name)}", f"give 1 to {most}")
        if self.window < 8:
            raise ConfigurationError(f"sound: a window of {self.window} samples", "give at least 8")
        if not 1 <= self.step <= MOST_RATE_HZ:
            raise ConfigurationError(f"sound: step is {self.step} samples", f"give 1 to {MOST_RATE_HZ}")
        if self.fft & (self.fft - 1) or not self.window <= self.fft <= LARGEST_FFT:
            raise ConfigurationError(
                f"sound: the transform takes {self.fft} samples",
                f"give a power of two from the window's {self.window} samples to {LARGEST_FFT}",
            )
        if not 0 <= self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise ConfigurationError(
                f"sound: the bands reach from {self.low_hz:g} to {self.high_hz:g} Hz",
                f"give a range within 0 to {self.rate_hz / 2:g} Hz, half of the sample rate",
            )
        if not 1e-12 <= self.floor <= 1:
            raise ConfigurationError(f"sound: floor is {self.floor:g}", "give 1e-12 to 1")
        self._refuse_empty_bands()

    def corners_hz(self) -> list[float]:
        """The triangles' corners, ``bands + 2`` of them."""
        low, high = (2595 * math.log10(1 + f / 700) for f in (self.low_hz, self.high_hz))
        mels = [low + (high - low) * i / (self.bands + 1) for i in range(self.bands + 2)]
        return [700 * (10 ** (mel / 2595) - 1) for mel in mels]

    def samples(self, rows: int) -> int:
        """Samples that give ``rows`` rows."""
        return self.window + (rows - 1) * self.step

    def rows(self, samples: int) -> int:
        """Whole rows that ``samples`` samples give."""
        return max(0, (samples - self.window) // self.step + 1)

    def _refuse_empty_bands(self) -> None:
        corners, spacing = self.corners_hz(), self.rate_hz / self.fft
        for low, high in zip(corners, corners[2:], strict=False):
            if math.floor(low / spacing) + 1 > math.ceil(high / spacing) - 1:
                raise ConfigurationError(
                    f"sound: no frequency of the transform lies in the band from {low:.0f} to {high:.0f} Hz",
                    f"give fewer than {self.bands} bands, or a longer fft than {self.fft}",
                )


NAMED = {
    "keyword": FrontEnd(16_000, 480, 320, 512, 40, 20.0, 4000.0),
}
"""The usual ones. ``keyword``: 30 ms every 20 ms, 40 bands to 4 kHz, so that a second has 49 rows; windows and bands of
the keyword spotting of MLPerf Tiny (Banbury et al., 2021) and of Hello Edge (Zhang et al., 2017)."""
