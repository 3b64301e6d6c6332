"""A line of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from multigraft.answers.placement import Placement


@dataclass(frozen=True, slots=True)
class Text:
    """What is written on a picture of one line.

    Attributes:
        text: Empty where nothing was read, or where the score is below the threshold.
        score: Mean of the probabilities of its characters, 0..1; 0 without characters.
    """

    text: str
    score: float

    def placed(self, placement: Placement) -> Self:
        """The same: it has no place on the frame."""
        return self

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "score": round(self.score, 4)}
