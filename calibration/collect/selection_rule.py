"""When a frame is used, as a user asks for it; read for a command's help, so it needs no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.errors import UsageError


@dataclass(frozen=True)
class SelectionRule:
    """When a frame is used.

    Attributes:
        min_difference: Smallest mean difference to the last frame used, in pixel units 0..255 (of rows, in 255ths of
            their largest magnitude); 0 uses equal ones too.
        interval_s: Shortest time between two frames used, seconds.
        every: Use the first of so many frames read.
    """

    min_difference: float = 1.0
    interval_s: float = 0.0
    every: int = 1

    @property
    def skips(self) -> bool:
        """Whether a frame may be refused."""
        return self.min_difference > 0 or self.interval_s > 0 or self.every > 1

    def __post_init__(self) -> None:
        if self.min_difference < 0 or self.interval_s < 0 or self.every < 1:
            raise UsageError("the rule of frame selection has a negative number", "give 0 or more, and every 1 or more")
