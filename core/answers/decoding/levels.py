"""Cells of a detector's levels: how many, and where their centres lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.tensors.arrays import Float32Array


def grid_of(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Rows and columns of a level for an input of ``size`` (height, width)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def cells_of(size: Sequence[int], strides: Sequence[int], per_cell: int = 1) -> int:
    """Cells of all levels together, times anchors per cell."""
    return sum(rows * columns for rows, columns in (grid_of(size, s) for s in strides)) * per_cell


def stride_of(size: Sequence[int], rows: int, columns: int) -> int | None:
    """The stride of a level of so many rows and columns: a power of two from 2 to 128; None where there is none."""
    return next((s for s in (2, 4, 8, 16, 32, 64, 128) if grid_of(size, s) == (rows, columns)), None)


def points_of(
    size: Sequence[int], strides: Sequence[int], offset: float, per_cell: int = 1
) -> tuple[Float32Array, Float32Array]:
    """Points (n, 2) x before y, in input pixels, and the stride of each (n, 1): levels in turn, row by row.

    Args:
        size: Height and width of the input.
        strides: Per level.
        offset: 0.5 for centres of cells, 0 for their corners; in cells.
        per_cell: Each point so many times in a row (anchors innermost).
    """
    points, steps = [], []
    for stride in strides:
        rows, columns = grid_of(size, stride)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        level = np.stack([x, y], axis=-1).reshape(-1, 2).repeat(per_cell, axis=0)
        points.append((level + np.float32(offset)) * np.float32(stride))
        steps.append(np.full((len(level), 1), stride, np.float32))
    return np.concatenate(points), np.concatenate(steps)
