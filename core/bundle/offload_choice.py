"""What a build chose for a task that a server may answer: where it is cut, in how many bits it travels, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class OffloadChoice:
    """One task's.

    Attributes:
        cut: The tensor that travels; the network input where the server answers all of it; empty where no server is
            asked, as the device alone is faster.
        bits: Of a value on the wire, at first, 2 to 8; 0 where no server is asked.
        link: What was chosen for, as it was written: ``5mbit,20ms``.
        total_us: What an answer was expected to take, microseconds.
        local_us: What the local answer took, microseconds, on the machine that built.
        agreement: Share of frames on which device and server together answer as the original network; None where no
            server is asked.
        frames: How many those were.
    """

    cut: str
    bits: int
    link: str
    total_us: float
    local_us: float
    agreement: float | None = None
    frames: int = 0

    @property
    def is_local(self) -> bool:
        """Whether no server is asked."""
        return not self.cut

    def check(self, task: str) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: A number is out of its range.
        """
        if not (self.bits == 0 if self.is_local else 2 <= self.bits <= 8):
            raise ValueError(f"task {task} travels in {self.bits} bits")
        if not all(math.isfinite(us) and us >= 0 for us in (self.total_us, self.local_us)):
            raise ValueError(f"task {task} takes {self.total_us} us on a link")
