"""The class of every pixel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.answers.geometry.sampling import map_scale, nearest
from multigraft.answers.placement import Placement

NOT_SEEN = -1
"""Class of a pixel of the frame that the network has not looked at: it lies beside what was cut out."""


@dataclass(frozen=True, slots=True)
class ClassMap:
    """The class of every pixel: ``classes`` is int32, height x width, at the network's own resolution.

    A single output channel is two classes: 1 above one half where all outputs lie within 0..1, otherwise above 0.

    Attributes:
        classes: (height, width) int32; once placed, of the frame, with :data:`NOT_SEEN` where the network did not look.
        labels: Names of the classes; empty without names.
        size: Height and width of the network input that the map spans, pixels; None where it has the map's own.
    """

    classes: npt.NDArray[np.int32]
    labels: tuple[str, ...]
    size: tuple[int, int] | None = None

    def placed(self, placement: Placement) -> Self:
        """The same at the size of the frame: each pixel takes the class of the map's pixel that it lies on."""
        back = placement.inverse() * map_scale(self.size, self.classes.shape)
        classes = nearest(self.classes, back, placement.height, placement.width, NOT_SEEN)
        return dataclasses.replace(self, classes=classes, size=None)

    def to_json(self) -> dict[str, Any]:
        """Shape and pixels per class; the map itself would be longer than the line is useful."""
        numbers, counts = np.unique(self.classes[self.classes != NOT_SEEN], return_counts=True)
        names = [self.labels[n] if 0 <= n < len(self.labels) else str(n) for n in numbers]
        return {"shape": list(self.classes.shape), "pixels": dict(zip(names, counts.tolist(), strict=True))}
