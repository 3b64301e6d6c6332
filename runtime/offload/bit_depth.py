"""How many bits a code gets, by what the link made of the frames before.

Up slowly and down at once, as TCP sets its window (Chiu and Jain 1989): an answer later than the time it was given
takes a bit away, one that did not come takes half of them, and a run of answers in time to spare gives one back.
"""

from __future__ import annotations

from multigraft.runtime.offload.ranges import FEWEST_BITS, MOST_BITS

IN_TIME_TO_GROW = 8
"""Answers in a row that leave room, until a bit more is tried."""


class BitDepth:
    """Sets the number of bits from frame to frame.

    Args:
        budget_s: What an answer may take, seconds.
        fewest: Never fewer bits, 2 to 8.
        most: Never more.
        first: Of the first frame; None for ``most``.

    Attributes:
        bits: For the next frame.
    """

    def __init__(
        self, budget_s: float, fewest: int = FEWEST_BITS, most: int = MOST_BITS, first: int | None = None
    ) -> None:
        self._budget_s, self._fewest, self._most = budget_s, fewest, most
        self.bits = most if first is None else first
        self._in_time = 0

    def answered(self, seconds: float) -> None:
        """A frame came back after so long."""
        if seconds > self._budget_s:
            self._set(self.bits - 1)
        elif seconds * (self.bits + 1) / self.bits > self._budget_s:
            # One more would be too late.
            self._in_time = 0
        else:
            self._in_time += 1
            if self._in_time >= IN_TIME_TO_GROW:
                self._set(self.bits + 1)

    def missed(self) -> None:
        """A frame did not come back in its deadline."""
        self._set(self.bits // 2)

    def _set(self, bits: int) -> None:
        self.bits = min(self._most, max(self._fewest, bits))
        self._in_time = 0
