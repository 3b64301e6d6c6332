"""Boxes with what may come with them: classes, keypoints, masks, corners of rotated boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.answers.placement import Placement
from multigraft.answers.suppression import suppress
from multigraft.tensors.arrays import Float32Array

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found on one frame, by falling score.

    Attributes:
        boxes: (n, 4) float32: left, top, right, bottom, in pixels of the frame; edges, so a whole frame is
            0, 0, width, height. Before :meth:`placed`: in pixels of the network input.
        scores: (n,) float32, 0..1.
        classes: (n,) int32; all 0 where the network knows one class.
        labels: Names of the classes; empty without names.
        keypoints: (n, k, 3) float32: x, y in the same pixels, and a confidence 0..1; None without.
        edges: Pairs of keypoints that a drawing joins.
        masks: Per box, which pixels belong to it; rows and columns span ``extent`` where there is one, else the box.
            None without.
        corners: (n, 4, 2) float32: corners of rotated boxes, in order around them; None without.
    """

    boxes: Float32Array
    scores: Float32Array
    classes: npt.NDArray[np.int32]
    labels: tuple[str, ...] = ()
    keypoints: Float32Array | None = None
    edges: tuple[tuple[int, int], ...] = ()
    masks: tuple[Mask, ...] | None = None
    corners: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def label(self, number: int) -> str:
        """Name of the class of a detection, else its number."""
        index = int(self.classes[number])
        return self.labels[index] if index < len(self.labels) else str(index)

    def chosen(self, numbers: Sequence[int] | npt.NDArray[np.intp]) -> Self:
        """These of them, in that order."""
        rows = np.asarray(numbers, np.intp)
        return dataclasses.replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            classes=self.classes[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
            masks=None if self.masks is None else tuple(self.masks[i] for i in rows),
            corners=None if self.corners is None else self.corners[rows],
        )

    def suppressed(self, iou_threshold: float, most: int) -> Self:
        """Without the boxes that show what a better one shows, and by falling score; see :func:`suppress`."""
        return self.chosen(suppress(self.boxes, self.scores, self.classes, iou_threshold, most))

    def placed(self, placement: Placement) -> Self:
        """The same in pixels of the frame; boxes end at its border."""
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = np.concatenate([placement.points(keypoints[:, :, :2]), keypoints[:, :, 2:]], axis=2)
        return dataclasses.replace(
            self,
            boxes=placement.boxes(self.boxes),
            keypoints=keypoints,
            corners=None if self.corners is None else placement.points(self.corners),
        )

    def to_json(self) -> dict[str, Any]:
        found = []
        for i in range(len(self)):
            one: dict[str, Any] = {
                "label": self.label(i) if self.labels else None,
                "index": int(self.classes[i]),
                "score": round(float(self.scores[i]), 4),
                "box": [round(v, 2) for v in self.boxes[i].tolist()],
            }
            if self.keypoints is not None:
                one["keypoints"] = [[round(v, 2) for v in point] for point in self.keypoints[i].tolist()]
            if self.corners is not None:
                one["corners"] = [[round(v, 2) for v in point] for point in self.corners[i].tolist()]
            if self.masks is not None:
                one["mask_pixels"] = int(self.masks[i].sum())
            found.append(one)
        return {"detections": found}


def no_detections(labels: tuple[str, ...] = ()) -> Detections:
    """An empty frame."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), labels)
