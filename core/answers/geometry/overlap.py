"""How much boxes cover each other."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from multigraft.tensors.arrays import Float32Array, Float64Array

Boxes = TypeVar("Boxes", Float32Array, Float64Array)


def iou_matrix(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union of every box of ``a`` (n, 4) with every box of ``b`` (m, 4), (n, m).

    Boxes are two opposite corners, the lower coordinates first; one without an area overlaps nothing.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.maximum(high - low, 0), axis=2)
    union = _area(a)[:, None] + _area(b)[None, :] - inner
    iou: Boxes = np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
    return iou


def _area(boxes: Boxes) -> Boxes:
    area: Boxes = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return area
