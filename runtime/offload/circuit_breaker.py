"""When a server is left alone: after failures in a row, for a time that doubles until it answers again."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES = 3
FIRST_REST_S = 1.0
LONGEST_REST_S = 30.0


class CircuitBreaker:
    """Says whether a server may be asked now.

    Args:
        failures: In a row, after which it is left alone.
        first_rest_s: How long at first, seconds.
        longest_rest_s: And at most.
        now: A clock, seconds.
    """

    def __init__(
        self,
        failures: int = FAILURES,
        first_rest_s: float = FIRST_REST_S,
        longest_rest_s: float = LONGEST_REST_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures, self._first_s, self._longest_s, self._now = failures, first_rest_s, longest_rest_s, now
        self._in_a_row = 0
        self._rest_s = 0.0
        self._until = -1.0

    @property
    def is_open(self) -> bool:
        """Whether the server is left alone now. After the rest one frame tries it."""
        return self._now() < self._until

    def succeeded(self) -> None:
        """An answer came."""
        self._in_a_row, self._rest_s = 0, 0.0

    def failed(self) -> None:
        """None came."""
        self._in_a_row += 1
        if self._in_a_row >= self._failures:
            self._rest_s = min(self._longest_s, self._rest_s * 2 or self._first_s)
            self._until = self._now() + self._rest_s
