"""Rotated boxes: their corners, and suppression among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.answers.geometry.suppression import CANDIDATES
from multigraft.tensors.arrays import Float32Array, Float64Array

_TINY = 1e-9


def corners_of_rotated(boxes: Float32Array) -> Float32Array:
    """(n, 5) centre x, centre y, width, height, angle as (n, 4, 2) corners, in order around the box.

    The angle is in radians and turns x towards y: clockwise in a picture. The first corner is the upper left one of the
    box before it's turned.
    """
    across = np.stack([np.cos(boxes[:, 4]), np.sin(boxes[:, 4])], axis=1) * (boxes[:, 2:3] / 2)
    down = np.stack([-np.sin(boxes[:, 4]), np.cos(boxes[:, 4])], axis=1) * (boxes[:, 3:4] / 2)
    centre = boxes[:, :2]
    corners = [centre - across - down, centre + across - down, centre + across + down, centre - across + down]
    around: Float32Array = np.stack(corners, axis=1).astype(np.float32)
    return around


def suppress_rotated(
    boxes: Float32Array,
    scores: Float32Array,
    classes: npt.NDArray[np.int32],
    iou_threshold: float,
    most: int,
) -> npt.NDArray[np.intp]:
    """Numbers of the rotated boxes to keep, by falling score; as :func:`suppress` of upright ones.

    Overlap is that of the boxes as normal distributions (ProbIoU, arXiv:2106.06072), as Ultralytics suppresses them:
    upright boxes around slanted neighbours overlap though the things do not.

    Args:
        boxes: (n, 5) finite: centre x, centre y, width, height, angle in radians.
        scores: (n,) finite.
        classes: (n,).
        iou_threshold: 0..1.
        most: Stop after so many.
    """
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    covariances = _covariances(boxes[order].astype(np.float64))
    centres, kinds = boxes[order, :2].astype(np.float64), classes[order]
    kept: list[int] = []
    left = np.arange(len(order))
    while len(left) and len(kept) < most:
        first, left = int(left[0]), left[1:]
        kept.append(first)
        same = _likeness(centres[first], covariances[first], centres[left], covariances[left]) > iou_threshold
        left = left[~(same & (kinds[left] == kinds[first]))]
    chosen: npt.NDArray[np.intp] = order[kept]
    return chosen


def _covariances(boxes: Float64Array) -> Float64Array:
    """(n, 3): variance of x, of y, and covariance of the even distribution over each box."""
    wide, high = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    return np.stack([wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2, (wide - high) * cos * sin], axis=1)


def _likeness(centre: Float64Array, one: Float64Array, centres: Float64Array, others: Float64Array) -> Float64Array:
    """(n,): 1 minus the Hellinger distance between one normal distribution and others."""
    x, y, both = (one + others).T
    area = np.maximum(x * y - both**2, _TINY)
    dx, dy = (centres - centre).T
    apart = (y * dx**2 - 2 * both * dx * dy + x * dy**2) / (4 * area)
    own = np.maximum(one[0] * one[1] - one[2] ** 2, 0)
    areas = own * np.maximum(others[:, 0] * others[:, 1] - others[:, 2] ** 2, 0)
    shape = np.log(np.maximum(area / (4 * np.sqrt(areas) + _TINY), _TINY)) / 2
    likeness: Float64Array = 1 - np.sqrt(1 - np.exp(-np.clip(apart + shape, 0, 100)))
    return likeness
