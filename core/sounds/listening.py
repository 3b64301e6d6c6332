"""Which windows of a sound are frames."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.errors import UsageError


@dataclass(frozen=True)
class Listening:
    """Which windows are taken.

    Attributes:
        rate_hz: Samples a second.
        samples: Samples of a window.
        hop: Samples from the begin of one window to that of the next.

    Raises:
        UsageError: A number is not positive.
    """

    rate_hz: int
    samples: int
    hop: int

    def __post_init__(self) -> None:
        if min(self.rate_hz, self.samples, self.hop) < 1:
            raise UsageError(
                f"windows of {self.samples} samples every {self.hop} at {self.rate_hz} Hz", "give positive numbers"
            )

    def count(self, samples: int) -> int:
        """Windows of a sound that ends: those that fit whole, and one where it is shorter than that."""
        return max(0, (samples - self.samples) // self.hop) + 1 if samples else 0
