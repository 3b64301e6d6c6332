"""Forms of boxes."""

from __future__ import annotations

import numpy as np

from multigraft.tensors.arrays import Float32Array


def corners_of_centres(boxes: Float32Array) -> Float32Array:
    """(n, 4) centre x, centre y, width, height as left, top, right, bottom; a new array."""
    half = boxes[:, 2:] * np.float32(0.5)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def corners_of_distances(centres: Float32Array, distances: Float32Array) -> Float32Array:
    """(n, 2) points and (n, 4) distances to the left, upper, right and lower edge as left, top, right, bottom."""
    return np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
