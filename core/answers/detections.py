"""Boxes with what may come with them: classes, keypoints, masks, corners of rotated boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.answers.geometry.suppression import suppress
from multigraft.answers.masks import Mask, block_of, placed_mask
from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array

_FARTHEST = np.float32(1e6)
"""Pixels: no coordinate is beyond, whatever a network says, so that sums and areas stay numbers."""


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
        masks: Per box, which of the pixels that it touches belong to it: row r and column c of a mask are the pixel
            (floor(top) + r, floor(left) + c), up to ceil(bottom) and ceil(right), see
            :func:`multigraft.answers.masks.block_of`; so ``frame[block_of(box)][mask]`` are its pixels. None without.
        corners: (n, 4, 2) float32: corners of rotated boxes, in order around them; None without.
        parents: (n,) int32: of a detector that looked at another task's boxes, the number of the box; None without.
        ids: (n,) int64: which thing it is over frames, -1 where that is not known yet; None where nobody follows them.
    """

    boxes: Float32Array
    scores: Float32Array
    classes: npt.NDArray[np.int32]
    labels: tuple[str, ...] = ()
    keypoints: Float32Array | None = None
    edges: tuple[tuple[int, int], ...] = ()
    masks: tuple[Mask, ...] | None = None
    corners: Float32Array | None = None
    parents: npt.NDArray[np.int32] | None = None
    ids: npt.NDArray[np.int64] | None = None

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
            parents=None if self.parents is None else self.parents[rows],
            ids=None if self.ids is None else self.ids[rows],
        )

    def sound(self) -> Self:
        """Without those whose score, box or corners are no finite numbers.

        Scores end at 1, coordinates at a million pixels; a keypoint that is nowhere is at 0, 0 with confidence 0.
        """
        is_sound = np.isfinite(self.scores) & np.isfinite(self.boxes).all(axis=1)
        if self.corners is not None:
            is_sound &= np.isfinite(self.corners).all(axis=(1, 2))
        rows = np.flatnonzero(is_sound)
        chosen = self if len(rows) == len(self) else self.chosen(rows)
        keypoints = chosen.keypoints
        if keypoints is not None:
            somewhere = np.isfinite(keypoints).all(axis=2, keepdims=True)
            keypoints = np.clip(np.where(somewhere, keypoints, np.float32(0)), -_FARTHEST, _FARTHEST)
            keypoints[:, :, 2] = np.clip(keypoints[:, :, 2], 0, 1)
        return dataclasses.replace(
            chosen,
            boxes=np.clip(chosen.boxes, -_FARTHEST, _FARTHEST),
            scores=np.minimum(chosen.scores, np.float32(1)),
            keypoints=keypoints,
            corners=None if chosen.corners is None else np.clip(chosen.corners, -_FARTHEST, _FARTHEST),
        )

    def suppressed(self, iou_threshold: float, most: int) -> Self:
        """Sound ones, without the boxes that show what a better one shows, by falling score; see :func:`suppress`."""
        sound = self.sound()
        return sound.chosen(suppress(sound.boxes, sound.scores, sound.classes, iou_threshold, most))

    def best(self, most: int) -> Self:
        """Sound ones by falling score, so many of them; equal ones in the order they came."""
        sound = self.sound()
        return sound.chosen(np.argsort(-sound.scores, kind="stable")[:most])

    def placed(self, placement: Placement) -> Self:
        """The same in pixels of the frame; boxes, and masks with them, end at its border."""
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = np.concatenate([placement.points(keypoints[:, :, :2]), keypoints[:, :, 2:]], axis=2)
        boxes = placement.boxes(self.boxes)
        masks = self.masks
        if masks is not None:
            masks = tuple(
                placed_mask(mask, block_of(box), placement, block_of(placed))
                for mask, box, placed in zip(masks, self.boxes, boxes, strict=True)
            )
        return dataclasses.replace(
            self,
            boxes=boxes,
            keypoints=keypoints,
            masks=masks,
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
            if self.parents is not None:
                one["within"] = int(self.parents[i])
            if self.masks is not None:
                one["mask_pixels"] = int(self.masks[i].sum())
            if self.ids is not None:
                one["id"] = int(self.ids[i]) if self.ids[i] >= 0 else None
            found.append(one)
        return {"detections": found}


def no_detections(labels: tuple[str, ...] = ()) -> Detections:
    """An empty frame."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), labels)
