"""How much two decoded answers to one frame agree, in what people see: boxes, points, pixels, characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoded
from multigraft.tensors.arrays import Float32Array

IOU = 0.5
"""Smallest intersection over union of a match (PASCAL VOC)."""

KEYPOINT_DISTANCE = 0.1
"""Largest mean distance of keypoints of a match, as a share of the root of the box's area."""

_SURE = 0.3
"""Confidence from which a keypoint counts."""


def frame_score(original: Decoded, new: Decoded, tolerance: float | None = None) -> float | None:
    """0 to 1: how much of two answers is equal; None where there is no rule for such answers.

    Args:
        original: What is right.
        new: What is judged.
        tolerance: What still counts as equal, in the unit of :func:`rule_of`; None for its default.
    """
    for kind, (score, default, _) in RULES.items():
        if isinstance(original, kind):
            return score(original, new, default if tolerance is None else tolerance)
    return None


def rule_of(answer: Decoded, tolerance: float | None = None) -> tuple[str, float] | None:
    """In words when answers count as equal, and the tolerance used."""
    for kind, (_, default, words) in RULES.items():
        if isinstance(answer, kind):
            used = default if tolerance is None else tolerance
            return words.format(used), used
    return None


def iou_of(a: Float32Array, b: Float32Array) -> Float32Array:
    """(n, m): intersection over union of boxes (n, 4) and (m, 4), corners."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.maximum(high - low, 0), axis=2)
    area_a, area_b = (np.prod(np.maximum(c[:, 2:] - c[:, :2], 0), axis=1) for c in (a, b))
    union = area_a[:, None] + area_b[None, :] - inner
    found: Float32Array = np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
    return found


def matches(original: Detections, new: Detections, iou: float = IOU) -> list[tuple[int, int]]:
    """Pairs of boxes of one class that overlap by at least ``iou``, each once, the best of each in order of score."""
    overlap = iou_of(original.boxes, new.boxes)
    overlap[original.classes[:, None] != new.classes[None, :]] = 0
    found = []
    for number in range(len(original)):
        if not len(new):
            break
        best = int(overlap[number].argmax())
        if overlap[number, best] >= iou and _same_points(original, number, new, best):
            found.append((number, best))
            overlap[:, best] = 0
    return found


def _same_points(a: Detections, i: int, b: Detections, j: int) -> bool:
    if a.keypoints is None or b.keypoints is None:
        return True
    sure = a.keypoints[i, :, 2] >= _SURE
    if not sure.any():
        return True
    distance = np.linalg.norm(a.keypoints[i, sure, :2] - b.keypoints[j, sure, :2], axis=1).mean()
    size = np.sqrt(np.prod(np.maximum(a.boxes[i, 2:] - a.boxes[i, :2], 1)))
    return bool(distance <= KEYPOINT_DISTANCE * size)


def _boxes(original: Any, new: Any, iou: float) -> float:
    count = len(original) + len(new)
    return 2 * len(matches(original, new, iou)) / count if count else 1.0


Rule = tuple[Callable[[Any, Any, float], float], float, str]
RULES: dict[type, Rule] = {
    Detections: (_boxes, IOU, "share of boxes matched with the same class and IoU of at least {:g}, per frame"),
}
"""Type of answer to its score, the default tolerance, and the rule in words."""
