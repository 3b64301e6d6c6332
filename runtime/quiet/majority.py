"""What more than half of the last frames say."""

from __future__ import annotations

import collections
from typing import Generic, TypeVar

from multigraft.errors import UsageError

Said = TypeVar("Said")
MOST_FRAMES = 10_000


class Majority(Generic[Said]):
    """The value that more than half of the last frames gave; where there is none, the one before stays.

    Args:
        frames: How many; frames before the first one count as frames that gave nothing.

    Raises:
        UsageError: Fewer than one, or more than anybody waits for.
    """

    def __init__(self, frames: int) -> None:
        if not 1 <= frames <= MOST_FRAMES:
            raise UsageError(f"a majority of {frames} frames", f"give 1 to {MOST_FRAMES}")
        self._frames = frames
        self._last: collections.deque[Said] = collections.deque(maxlen=frames)
        self._counts: collections.Counter[Said] = collections.Counter()
        self.settled: Said | None = None

    def step(self, value: Said) -> Said | None:
        """The settled value with this one; None before there is any."""
        if len(self._last) == self._frames:
            oldest = self._last[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._last.append(value)
        self._counts[value] += 1
        # Only the value that has just gained can have reached more than half.
        if 2 * self._counts[value] > self._frames:
            self.settled = value
        return self.settled
