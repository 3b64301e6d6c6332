"""A threshold to come in and a lower one to leave: a score in between changes nothing."""

from __future__ import annotations

from multigraft.errors import UsageError


class Hysteresis:
    """Whether something is there.

    Args:
        enter: A score from which on it is there.
        leave: A score below which it is no longer there.
        patience: Frames in a row that it may be below and stays.

    Raises:
        UsageError: It would leave at scores at which it enters, or a threshold is no number.
    """

    def __init__(self, enter: float, leave: float, patience: int = 0) -> None:
        if not leave <= enter:
            raise UsageError(
                f"what enters at {enter} would leave below {leave}", "leave at a lower score than to enter"
            )
        self._enter, self._leave, self._patience = enter, leave, patience
        self._away = 0
        self.is_there = False

    def step(self, score: float) -> bool:
        """Whether it is there with this score; one that is no number changes nothing."""
        if score >= self._leave:
            self._away = 0
        elif score < self._leave:
            self._away += 1
        if score >= self._enter:
            self.is_there = True
        elif self._away > self._patience:
            self.is_there = False
        return self.is_there
