"""Where the network input lies in the frame: from its pixels to the frame's, whatever was resized, cut or turned.

Coordinates are continuous: the left edge of the first pixel is 0, its centre 0.5, the right edge of the last one the
width. So one affine map holds for boxes and points alike, and half a pixel is never lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from multigraft.tensors.arrays import Float32Array, Float64Array
from multigraft.tensors.preprocessing import Preprocessing, frame_ratio, frame_regions


@dataclass(frozen=True)
class Placement:
    """``frame = matrix @ (x, y, 1)``.

    Attributes:
        matrix: (2, 3) float64: input pixels to frame pixels.
        width: Of the frame, pixels.
        height: Of the frame, pixels.
    """

    matrix: Float64Array
    width: int
    height: int

    @classmethod
    def of_regions(
        cls,
        shape: Sequence[int],
        crop: tuple[slice, slice] | None,
        region: tuple[slice, slice] | None,
        size: tuple[int, int],
    ) -> Self:
        """Of a frame of ``shape`` whose part ``crop`` fills ``region`` of an input of ``size`` (rows, columns)."""
        height, width = shape[:2]
        rows, columns = crop or (slice(0, height), slice(0, width))
        inner_rows, inner_columns = region or (slice(0, size[0]), slice(0, size[1]))
        x = (columns.stop - columns.start) / (inner_columns.stop - inner_columns.start)
        y = (rows.stop - rows.start) / (inner_rows.stop - inner_rows.start)
        matrix = np.array(
            [
                [x, 0, columns.start - x * inner_columns.start],
                [0, y, rows.start - y * inner_rows.start],
            ]
        )
        return cls(matrix, width, height)

    @classmethod
    def of_frame(cls, preprocessing: Preprocessing, shape: tuple[int, ...]) -> Self:
        """Of a frame of ``shape`` (rows, columns, ...) that ``preprocessing`` makes the input of."""
        crop, region = frame_regions(preprocessing, shape)
        ratio = frame_ratio(preprocessing, shape)
        if ratio is not None:
            return cls(np.diag([ratio[0] / ratio[1]] * 2 + [0.0])[:2], shape[1], shape[0])
        return cls.of_regions(shape, crop, region, (preprocessing.height, preprocessing.width))

    def within(self, outer: Placement) -> Placement:
        """This one's frame is a part of ``outer``'s frame: the way from this input to the outer frame."""
        linear = outer.matrix[:, :2] @ self.matrix[:, :2]
        shift = outer.matrix[:, :2] @ self.matrix[:, 2] + outer.matrix[:, 2]
        return Placement(np.column_stack([linear, shift]), outer.width, outer.height)

    def points(self, points: Float32Array) -> Float32Array:
        """Points (..., 2), x before y; those beyond the frame stay beyond it."""
        flat = points.reshape(-1, 2).astype(np.float64)
        placed = flat @ self.matrix[:, :2].T + self.matrix[:, 2]
        in_frame: Float32Array = placed.reshape(points.shape).astype(np.float32)
        return in_frame

    def boxes(self, boxes: Float32Array) -> Float32Array:
        """Boxes (n, 4), cut off at the frame's border; of a turned one, the upright box around it."""
        corners = self.points(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])
        low, high = corners.min(axis=1), corners.max(axis=1)
        limits = np.array([self.width, self.height], np.float32)
        placed: Float32Array = np.concatenate([np.clip(low, 0, limits), np.clip(high, 0, limits)], axis=1)
        return placed

    def inverse(self) -> Float64Array:
        """(2, 3): frame pixels to input pixels."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.column_stack([linear, -linear @ self.matrix[:, 2]])
