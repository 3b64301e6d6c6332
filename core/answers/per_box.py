"""What a task says of each box of another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from multigraft.answers.detections import Detections


class Told(Protocol):
    """Any answer."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        ...


@dataclass(frozen=True)
class PerBox:
    """Answers to crops of one frame.

    Attributes:
        of: The task whose boxes were looked at.
        numbers: Numbers of the boxes, in the order in which they were looked at.
        answers: What was said of each.
    """

    of: str
    numbers: tuple[int, ...]
    answers: tuple[Told, ...]

    def to_json(self) -> dict[str, Any]:
        told = [{"number": n, **a.to_json()} for n, a in zip(self.numbers, self.answers, strict=True)]
        return {"of": self.of, "boxes": told}


def gathered(of: str, numbers: Sequence[int], answers: Sequence[Any]) -> PerBox | Detections:
    """The answers to the crops of one frame; of a detector, all boxes together, each with the box it was found in."""
    found = [a for a in answers if isinstance(a, Detections)]
    if not answers or len(found) < len(answers):
        return PerBox(of, tuple(numbers), tuple(answers))
    first = found[0]

    def joined(name: str) -> Any:
        parts = [getattr(a, name) for a in found]
        return None if any(p is None for p in parts) else np.concatenate(parts)

    masks = None if any(a.masks is None for a in found) else tuple(m for a in found for m in a.masks or ())
    return dataclasses.replace(
        first,
        **{name: joined(name) for name in ("boxes", "scores", "classes", "keypoints", "corners")},
        masks=masks,
        parents=np.repeat(np.array(numbers, np.int32), [len(a) for a in found]),
    )
