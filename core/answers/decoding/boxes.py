"""Forms of boxes."""

from __future__ import annotations

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.tensors.arrays import Float32Array


def corners_of_centres(boxes: Float32Array) -> Float32Array:
    """(n, 4) centre x, centre y, width, height as left, top, right, bottom; a new array."""
    half = boxes[:, 2:] * np.float32(0.5)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def corners_of_distances(centres: Float32Array, distances: Float32Array) -> Float32Array:
    """(n, 2) points and (n, 4) distances to the left, upper, right and lower edge as left, top, right, bottom."""
    return np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)


def in_pixels(boxes: Float32Array, answer: AnswerFormat) -> Float32Array:
    """(n, 4) of numbers that are x, y, x, y: shares of the input as pixels where the format says that they are shares;
    changes the array it is given.
    """
    if answer.normalised:
        boxes *= np.array([answer.size[1], answer.size[0]] * 2, np.float32)
    return boxes


def points_in_pixels(points: Float32Array, answer: AnswerFormat) -> Float32Array:
    """(n, k, 2 or 3) keypoints, x before y: likewise; changes the array it is given."""
    if answer.normalised:
        points[:, :, :2] *= np.array([answer.size[1], answer.size[0]], np.float32)
    return points


def upright_around(corners: Float32Array) -> Float32Array:
    """(n, k, 2) points: the upright box around each, (n, 4)."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
