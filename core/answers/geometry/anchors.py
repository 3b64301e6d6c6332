"""Anchor boxes, and boxes written relative to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.tensors.arrays import Float32Array

MOST_GROWN = math.log(1000 / 16)
"""Logarithm of how many times its anchor a box is at most (torchvision's BoxCoder)."""


def anchors_of(
    grids: Sequence[tuple[int, int]], steps: Sequence[tuple[float, float]], sides: Sequence[Float32Array]
) -> Float32Array:
    """(n, 4) centre x, centre y, width, height in pixels of the input: levels in turn, row by row, anchors innermost.

    Args:
        grids: Rows and columns of each level.
        steps: Pixels from one row to the next, and from one column to the next, of each level; the first centre lies
            at half of that.
        sides: Per level (k, 2), width and height of each anchor of a cell, pixels.
    """
    levels = []
    for (rows, columns), (down, across), pairs in zip(grids, steps, sides, strict=True):
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        centres = np.stack(
            [(x + np.float32(0.5)) * np.float32(across), (y + np.float32(0.5)) * np.float32(down)], axis=-1
        )
        repeated = centres.reshape(-1, 2).repeat(len(pairs), axis=0)
        levels.append(np.concatenate([repeated, np.tile(pairs, (rows * columns, 1))], axis=1).astype(np.float32))
    return np.concatenate(levels)


def corners_of_deltas(
    deltas: Float32Array, anchors: Float32Array, centre: float = 0.1, side: float = 0.2
) -> Float32Array:
    """(n, 4) left, top, right, bottom of boxes written as x, y, logarithms of width and height, relative to anchors.

    Source: Liu et al., SSD, arXiv:1512.02325, equation 2, with the variances that its code divides by.

    Args:
        deltas: (n, 4).
        anchors: (n, 4) centre x, centre y, width, height.
        centre: Variance of centres.
        side: Variance of sides.
    """
    middle = anchors[:, :2] + deltas[:, :2] * np.float32(centre) * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp(np.minimum(deltas[:, 2:] * np.float32(side), np.float32(MOST_GROWN)))
    half = half * np.float32(0.5)
    return np.concatenate([middle - half, middle + half], axis=1)


def points_of_deltas(deltas: Float32Array, anchors: Float32Array, centre: float = 0.1) -> Float32Array:
    """(n, k, 2) points written relative to anchors, (n, 2 k) or (n, k, 2)."""
    points = deltas.reshape(len(anchors), math.prod(deltas.shape[1:]) // 2, 2)
    return anchors[:, None, :2] + points * np.float32(centre) * anchors[:, None, 2:]
