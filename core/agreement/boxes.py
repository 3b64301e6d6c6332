"""Which outputs of a detector are boxes, scores and classes, and how well two sets of boxes match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft.answers.geometry.overlap import iou_matrix
from multigraft.answers.matching import IOU
from multigraft.tensors.arrays import Array, Float64Array

SCORE_THRESHOLD = 0.3
"""Boxes below it are no answers; common evaluation scripts draw from 0.3 up."""


@dataclass(frozen=True)
class Layout:
    """Which outputs hold what, by position; ``scores`` may hold a score per class, then ``classes`` is None."""

    boxes: int
    scores: int
    classes: int | None

    @classmethod
    def find(cls, outputs: Sequence[Array]) -> Self | None:
        """Find boxes (frames, n, 4), scores (frames, n) or (frames, n, classes), and perhaps classes (frames, n).

        None if the outputs are something else: raw anchors, centre and size, logits, or no such shapes.
        """
        boxes = next(
            (i for i, o in enumerate(outputs) if o.ndim == 3 and o.shape[2] == 4 and o.dtype.kind == "f"), None
        )
        if boxes is None:
            return None
        rest = [i for i, o in enumerate(outputs) if i != boxes and o.shape[:2] == outputs[boxes].shape[:2]]
        per_class = [i for i in rest if outputs[i].ndim == 3 and outputs[i].dtype.kind == "f"]
        flat = sorted((i for i in rest if outputs[i].ndim == 2), key=lambda i: bool(np.all(outputs[i] % 1 == 0)))
        if per_class:
            layout = cls(boxes, per_class[0], None)
        elif flat:
            layout = cls(boxes, flat[0], flat[1] if len(flat) > 1 else None)
        else:
            return None
        detections = Detections.read(outputs, layout)
        kept = detections.boxes[detections.scores >= SCORE_THRESHOLD]
        is_valid = np.all((detections.scores >= 0) & (detections.scores <= 1)) and np.all(kept[:, 2:] >= kept[:, :2])
        return layout if len(kept) and is_valid else None


@dataclass(frozen=True)
class Detections:
    """Answers of a detector on a batch of frames.

    Attributes:
        boxes: (frames, boxes, 4) float64, two opposite corners, in any unit and either axis order.
        scores: (frames, boxes) float64 in 0..1.
        classes: (frames, boxes) int64; all 0 where the detector knows one class.
    """

    boxes: Float64Array
    scores: Float64Array
    classes: npt.NDArray[np.int64]

    @classmethod
    def read(cls, outputs: Sequence[Array], layout: Layout) -> Self:
        """Take the outputs as ``layout`` says."""
        scores = outputs[layout.scores]
        if scores.ndim == 3:
            scores, classes = scores.max(axis=2), scores.argmax(axis=2)
        else:
            classes = np.zeros(scores.shape) if layout.classes is None else outputs[layout.classes]
        return cls(outputs[layout.boxes].astype(np.float64), scores.astype(np.float64), classes.astype(np.int64))

    def f1(self, other: Detections, iou: float = IOU) -> Float64Array:
        """Per frame: matched boxes as a share of the boxes of both, 0..1; 1 where neither has a box.

        A box matches one of ``other`` of the same class that overlaps by at least ``iou``; boxes are matched in the
        order of their scores, each to the one it overlaps most, each once.
        """
        return np.array([self._f1_of(other, i, iou) for i in range(len(self.boxes))])

    def _f1_of(self, other: Detections, frame: int, iou: float) -> float:
        mine = np.flatnonzero(self.scores[frame] >= SCORE_THRESHOLD)
        theirs = np.flatnonzero(other.scores[frame] >= SCORE_THRESHOLD)
        if not len(mine) and not len(theirs):
            return 1.0
        overlap = iou_matrix(self.boxes[frame][mine], other.boxes[frame][theirs])
        overlap[self.classes[frame][mine][:, None] != other.classes[frame][theirs][None, :]] = 0.0
        matches = 0
        for row in np.argsort(-self.scores[frame][mine], kind="stable"):
            if not len(theirs):
                break
            best = int(overlap[row].argmax())
            if overlap[row, best] >= iou:
                matches += 1
                overlap[:, best] = 0.0
        return 2 * matches / (len(mine) + len(theirs))
