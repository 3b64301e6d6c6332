"""Non-maximum suppression: of boxes that show one thing, the best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Float32Array

CANDIDATES = 4096
"""Boxes compared at most, those of the highest scores: a network that sees things everywhere cannot stall a frame."""
_BLOCK = 128


def suppress(
    boxes: Float32Array,
    scores: Float32Array,
    classes: npt.NDArray[np.int32],
    iou_threshold: float,
    most: int,
) -> npt.NDArray[np.intp]:
    """Numbers of the boxes to keep, by falling score; equal scores in the order they came.

    Greedy, per class: a box goes if it overlaps a kept one of its class by more than ``iou_threshold``.

    Args:
        boxes: (n, 4): left, top, right, bottom.
        scores: (n,).
        classes: (n,).
        iou_threshold: 0..1.
        most: Stop after so many.
    """
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    boxes, classes = boxes[order].astype(np.float32, copy=False), classes[order]
    kept = np.empty(min(most, len(order)), np.intp)
    count = 0
    # In blocks, since most candidates are never looked at: each against what is kept, then among its own.
    for start in range(0, len(order), _BLOCK):
        if count == len(kept):
            break
        block = np.arange(start, min(start + _BLOCK, len(order)))
        before = kept[:count]
        block = block[~_overlap(boxes, classes, before, block, iou_threshold).any(axis=0)]
        covers = _overlap(boxes, classes, block, block, iou_threshold)
        goes = np.zeros(len(block), np.bool_)
        for i, number in enumerate(block.tolist()):
            if goes[i]:
                continue
            if count == len(kept):
                break
            kept[count] = number
            count += 1
            goes |= covers[i]
    chosen: npt.NDArray[np.intp] = order[kept[:count]]
    return chosen


def _overlap(
    boxes: Float32Array,
    classes: npt.NDArray[np.int32],
    a: npt.NDArray[np.intp],
    b: npt.NDArray[np.intp],
    iou_threshold: float,
) -> npt.NDArray[np.bool_]:
    """(a, b): whether two boxes are of one class and overlap by more than the threshold."""
    one, other = boxes[a].T[:, :, None], boxes[b].T[:, None, :]
    width = np.minimum(one[2], other[2])
    width -= np.maximum(one[0], other[0])
    height = np.minimum(one[3], other[3])
    height -= np.maximum(one[1], other[1])
    inner = np.maximum(width, 0, out=width)
    inner *= np.maximum(height, 0, out=height)
    union = _area(one) + _area(other) - inner
    too_much: npt.NDArray[np.bool_] = inner > np.float32(iou_threshold) * union
    too_much &= classes[a][:, None] == classes[b][None, :]
    return too_much


def _area(boxes: Float32Array) -> Float32Array:
    area: Float32Array = np.maximum(boxes[2] - boxes[0], 0) * np.maximum(boxes[3] - boxes[1], 0)
    return area
