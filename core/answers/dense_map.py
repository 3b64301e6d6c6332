"""A number for every pixel: depth, heights, flow, normals."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from multigraft.answers.geometry.sampling import linear, map_scale
from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array


@dataclass(frozen=True, eq=False)
class DenseMap:
    """Real numbers per pixel, in the units of the network.

    Attributes:
        values: (channels, height, width) float32; once placed, of the frame, with NaN where the network did not look.
            Numbers that mean pixels of the input (flow) stay pixels of the input.
        size: Height and width of the network input that the map spans, pixels; None where it has the map's own.
    """

    values: Float32Array
    size: tuple[int, int] | None = None

    def placed(self, placement: Placement) -> Self:
        """The same at the size of the frame, between the map's pixels linear."""
        back = placement.inverse() * map_scale(self.size, self.values.shape)
        return dataclasses.replace(self, values=linear(self.values, back, placement.height, placement.width), size=None)

    def to_json(self) -> dict[str, Any]:
        """Shape, and what range the finite numbers span; the map itself would be longer than the line is useful."""
        finite = self.values[np.isfinite(self.values)]
        if not finite.size:
            return {"shape": list(self.values.shape), "least": None, "mean": None, "most": None}
        least, mean, most = float(finite.min()), float(finite.mean(dtype=np.float64)), float(finite.max())
        return {"shape": list(self.values.shape), "least": least, "mean": mean, "most": most}
