"""Several classes at once, each with a score of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array


@dataclass(frozen=True, eq=False)
class MultiLabel:
    """All classes whose score reaches the threshold, by falling score; none is an answer, too.

    Attributes:
        classes: (n,) int32: their numbers.
        scores: (n,) float32, 0..1.
        labels: Names of all classes of the network; empty without names.
    """

    classes: npt.NDArray[np.int32]
    scores: Float32Array
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def label(self, number: int) -> str:
        """Name of the class of one of them, else its number."""
        index = int(self.classes[number])
        return self.labels[index] if index < len(self.labels) else str(index)

    def placed(self, placement: Placement) -> Self:
        """The same: it has no place on the frame."""
        return self

    def to_json(self) -> dict[str, Any]:
        found = [
            {
                "label": self.label(i) if self.labels else None,
                "index": int(self.classes[i]),
                "score": round(float(self.scores[i]), 4),
            }
            for i in range(len(self))
        ]
        return {"labels": found}
