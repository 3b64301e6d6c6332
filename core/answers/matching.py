"""How much two decoded answers to one frame agree, in what people see: boxes, points, pixels, characters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.family import Decoded
from multigraft.answers.geometry.overlap import iou_matrix
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.text import Text

IOU = 0.5
"""Smallest intersection over union of a match (PASCAL VOC)."""

KEYPOINT_DISTANCE = 0.1
"""Largest mean distance of keypoints of a match, as a share of the root of the box's area."""

_SURE = 0.3
"""Confidence from which a keypoint counts."""


@dataclass(frozen=True)
class Rule:
    """When two answers of one kind agree.

    Attributes:
        score: Of what is right, what is judged, and a tolerance: 0 to 1, how much of both is equal.
        tolerance: What still counts as equal, unless another is asked for.
        words: For people, with a place for the tolerance.
        is_graded: The score may lie between 0 and 1.
    """

    score: Callable[[Any, Any, float], float]
    tolerance: float
    words: str
    is_graded: bool = True


def rule_of(answer: Decoded) -> Rule | None:
    """The rule for answers of that kind; None where there is none."""
    return next((rule for kind, rule in RULES.items() if isinstance(answer, kind)), None)


def frame_score(original: Decoded, new: Decoded, tolerance: float | None = None) -> float | None:
    """0 to 1: how much of two answers is equal; None where there is no rule for such answers.

    Args:
        original: What is right.
        new: What is judged.
        tolerance: As in :class:`Rule`; None for its own.
    """
    rule = rule_of(original)
    return None if rule is None else rule.score(original, new, rule.tolerance if tolerance is None else tolerance)


def matches(original: Detections, new: Detections, iou: float = IOU) -> list[tuple[int, int]]:
    """Pairs of boxes of one class that overlap by at least ``iou``, each once, the best of each in order of score."""
    overlap = iou_matrix(original.boxes, new.boxes)
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


def _characters(original: Any, new: Any, _: float) -> float:
    longest = max(len(original.text), len(new.text))
    return 1 - _edits(original.text, new.text) / longest if longest else 1.0


def _edits(a: str, b: str) -> int:
    """Characters to be put in, left out or changed (Levenshtein, 1966)."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (one != other))
    return row[-1]


def _pixels(original: Any, new: Any, _: float) -> float:
    return float((original.classes == new.classes).mean()) if original.classes.size else 1.0


@np.errstate(invalid="ignore")
def _depths(original: Any, new: Any, share: float) -> float:
    a, b = original.values, new.values
    spread = float(np.nanmax(a) - np.nanmin(a)) if np.isfinite(a).any() else 0.0
    return float((np.abs(a - b) <= share * spread + np.finfo(np.float32).eps * np.abs(a)).mean())


def _class_sets(original: Any, new: Any, _: float) -> float:
    a, b = set(original.classes.tolist()), set(new.classes.tolist())
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def _directions(original: Any, new: Any, cosine: float) -> float:
    return float(float(original.vector @ new.vector) >= cosine and original.name == new.name)


RULES: dict[type, Rule] = {
    Detections: Rule(_boxes, IOU, "share of boxes matched with the same class and IoU of at least {:g}, per frame"),
    Text: Rule(_characters, 0.0, "share of equal characters, per frame"),
    ClassMap: Rule(_pixels, 0.0, "share of pixels with the same class, per frame"),
    DenseMap: Rule(_depths, 0.05, "share of pixels within {:g} of the range, per frame"),
    MultiLabel: Rule(_class_sets, 0.0, "share of labels that both give, per frame"),
    Embedding: Rule(_directions, 0.95, "cosine of at least {:g} and the same name, per frame", False),
}
"""By type of answer."""
