"""A vector that stands for what a picture shows, and the known one that it is nearest to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Embedding:
    """A direction; pictures of one thing have similar ones.

    Attributes:
        vector: (n,) float32 of unit length; all zeros where the network gave no direction.
        name: Of the nearest known vector; None without known ones, or where none is similar enough.
        similarity: Cosine of the angle to the nearest known vector, -1..1; None without known ones.
    """

    vector: Float32Array
    name: str | None = None
    similarity: float | None = None

    def placed(self, placement: Placement) -> Self:
        """The same: it has no place on the frame."""
        return self

    def to_json(self) -> dict[str, Any]:
        """The nearest known one; without known ones the vector, which is what a gallery is made of."""
        if self.similarity is None:
            return {"vector": [round(v, 6) for v in self.vector.tolist()]}
        return {"name": self.name or UNKNOWN, "similarity": round(self.similarity, 4)}
