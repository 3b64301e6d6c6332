"""MediaPipe's detectors: faces (BlazeFace), palms, people; boxes with keypoints relative to the middle of a cell.

Outputs are n x (4 + 2 keypoints) and n x 1 raw scores: centre x, centre y, width, height and the keypoints in pixels of
the input, from the anchor's centre. Anchors have no size of their own, so a set is told by its number for the size of
the input. Boxes that overlap are averaged by their scores in place of dropped ones, which is what keeps faces from
trembling (Bazarevsky et al., BlazeFace, arXiv:1907.05047, section 3.4). Sources: google-ai-edge/mediapipe
mediapipe/modules/{face_detection,palm_detection,pose_detection}/*.pbtxt,
mediapipe/calculators/tflite/ssd_anchors_calculator.cc, mediapipe/calculators/util/non_max_suppression_calculator.cc.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import cells_of, grid_of
from multigraft.answers.decoding.selection import logit, sigmoid
from multigraft.answers.decoding.skeleton import pairs_of
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.suppression import CANDIDATES
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

SCORE_THRESHOLD = 0.5
FAR_SCORE_THRESHOLD = 0.6
"""Of the detector of faces far away, which is surer of what it sees."""
IOU_THRESHOLD = 0.3
_LEVELS = (((8, 2), (16, 6)), ((16, 2), (32, 6)), ((4, 1),), ((8, 2), (16, 2), (32, 6)))
"""Of each set of anchors: strides, and anchors per cell. Faces near by and palms; faces of the first "back" model;
faces far away; people, and palms of the first model."""
_FAR = (4,)
MOST_RAW = 100.0
"""Raw scores are cut here, as MediaPipe does."""


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    shapes = evidence.shapes
    if len(shapes) != 2:
        return f"there are {len(shapes)} outputs in place of two"
    if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        return f"outputs are {size_text(shapes[0])} and {size_text(shapes[1])}, in place of n x numbers and n x 1"
    at_scores = 0 if shapes[0][1] == 1 else 1
    count, numbers = shapes[1 - at_scores]
    if shapes[at_scores][1] != 1 or numbers < 4 or numbers % 2:
        return f"output {1 - at_scores} is {size_text(shapes[1 - at_scores])} in place of n x (4 + 2 keypoints)"
    if mediapipe_anchors(evidence.size, count) is None:
        return f"no set of anchors has {count} for an input of {size_text(evidence.size)}"
    if not evidence.named and numbers == 4:
        return "there are no keypoints"
    return AnswerFormat(
        "mediapipe",
        shapes,
        evidence.size,
        {"boxes": 1 - at_scores, "scores": at_scores},
        score_threshold=FAR_SCORE_THRESHOLD if count == cells_of(evidence.size, _FAR) else SCORE_THRESHOLD,
        iou_threshold=IOU_THRESHOLD,
        keypoints=(numbers - 4) // 2,
        keypoint_numbers=2,
    )


def mediapipe_anchors(size: Sequence[int], count: int) -> Float32Array | None:
    """(count, 2) x and y of the anchors' centres, pixels."""
    for levels in _LEVELS:
        grids = [(grid_of(size, stride), each) for stride, each in levels]
        if sum(rows * columns * each for (rows, columns), each in grids) != count:
            continue
        made = []
        for (rows, columns), each in grids:
            y, x = np.mgrid[0:rows, 0:columns] + 0.5
            centres = np.stack([x * (size[1] / columns), y * (size[0] / rows)], axis=-1)
            made.append(centres.reshape(-1, 2).repeat(each, axis=0))
        anchors: Float32Array = np.concatenate(made).astype(np.float32)
        return anchors
    return None


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise)
    at_boxes, at_scores = answer.roles["boxes"], answer.roles["scores"]
    count, numbers = answer.shapes[at_boxes]
    anchors = mediapipe_anchors(answer.size, count)
    if anchors is None:
        raise ConfigurationError(
            f"no set of anchors has {count} for an input of {size_text(answer.size)}", "build the bundle again"
        )
    check_labels(labels, 1, f"output {at_scores}")
    keypoints = (numbers - 4) // 2
    edges = pairs_of(answer.edges)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        raw = outputs[at_scores][:, 0]
        kept = np.flatnonzero(raw >= logit(answer.score_threshold))
        scores = sigmoid(np.minimum(raw[kept], np.float32(MOST_RAW)))
        some, middle = outputs[at_boxes][kept], anchors[kept]
        boxes = some[:, :4].copy()
        boxes[:, :2] += middle
        points = some[:, 4:].reshape(len(kept), keypoints, 2) + middle[:, None]
        points = np.concatenate([points, np.ones_like(points[:, :, :1])], axis=2)
        classes = np.zeros(len(kept), np.int32)
        found = Detections(corners_of_centres(boxes), scores, classes, labels, points if keypoints else None, edges)
        return blended(found.sound(), answer.iou_threshold, answer.most)

    return decode


def blended(found: Detections, iou_threshold: float, most: int) -> Detections:
    """Of boxes that overlap by more than ``iou_threshold`` one: their mean, weighted by scores, with the highest score;
    at most so many, by falling score; keypoints likewise.
    """
    found = found.chosen(np.argsort(-found.scores, kind="stable")[:CANDIDATES])
    boxes, points = found.boxes.copy(), None if found.keypoints is None else found.keypoints.copy()
    left = np.arange(len(found))
    firsts: list[int] = []
    while len(left) and len(firsts) < most:
        first = int(left[0])
        is_same = _overlaps(found.boxes[first], found.boxes[left]) > iou_threshold
        is_same[0] = True
        group = left[is_same]
        weights = found.scores[group] / _sum(found.scores[group])
        boxes[first] = _sum(weights[:, None] * found.boxes[group])
        if points is not None and found.keypoints is not None:
            points[first] = _sum(weights[:, None, None] * found.keypoints[group])
        firsts.append(first)
        left = left[~is_same]
    return dataclasses.replace(found, boxes=boxes, keypoints=points).chosen(firsts)


def _sum(values: Float32Array) -> Float32Array:
    """Over the first axis, from the first on: whoever adds in this order gets the same bits, which firmware does."""
    total: Float32Array = np.add.accumulate(values, axis=0)[-1]
    return total


def _overlaps(box: Float32Array, others: Float32Array) -> Float32Array:
    """Intersection over union of a box with each of (n, 4)."""
    inner = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(inner, 0).prod(axis=1)
    areas = np.maximum(others[:, 2:] - others[:, :2], 0).prod(axis=1)
    union = areas + np.maximum(box[2:] - box[:2], 0).prod() - shared
    overlap: Float32Array = shared / np.maximum(union, np.float32(1e-9))
    return overlap


MEDIAPIPE = Family(
    "mediapipe",
    "MediaPipe's faces (BlazeFace), palms, people: boxes with keypoints for each anchor, and raw scores",
    ("detection", "landmarks"),
    _recognise,
    _decoder,
)
