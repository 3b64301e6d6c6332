"""YOLO pose: boxes with keypoints.

"yolov8-pose": per cell centre x, centre y, width, height, a probability per class, then x, y and confidence of each
keypoint, all decoded (56 x cells for people). "yolo26-pose": rows of left, top, right, bottom, score, class, keypoints,
nothing left to suppress (300 x 57). Source: ultralytics/ultralytics nn/modules/head.py (Pose),
https://docs.ultralytics.com/guides/end2end-detection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels, points_in_pixels
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import classes_of, keypoints_of, several_outputs, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import best_per_class
from multigraft.answers.decoding.skeleton import COCO_KEYPOINTS, edges_of, pairs_of
from multigraft.answers.detections import Detections
from multigraft.answers.families.end_to_end import filled, read_rows, whole
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.tensors.arrays import Float32Array

_DECIDED = ("strides", "roles", "keypoints", "keypoint_numbers")


def _with_keypoints(blank: AnswerFormat, evidence: Evidence, numbers: int, where: str) -> AnswerFormat | str:
    """The format with what ``numbers`` hold: one class unless known otherwise, and keypoints of three numbers."""
    told = keypoints_of(evidence)
    is_end_to_end = "rows" in blank.roles
    classes = 0 if is_end_to_end else classes_of(evidence) or 1
    if told is not None:
        count, each = told
        if numbers - count * each < (0 if is_end_to_end else 1) or (is_end_to_end and numbers != count * each):
            return f"{where} has {numbers} numbers beside the box, and the file speaks of {count} keypoints"
    else:
        count, each = (numbers - classes) // 3, 3
        if count < 1 or classes + 3 * count != numbers:
            return f"{where} has {numbers} numbers beside the box, which are not {classes} and 3 per keypoint"
    if not evidence.named and task_of(evidence) != "pose":
        if count != COCO_KEYPOINTS and evidence.kind != "landmarks":
            return f"{count} keypoints are not the {COCO_KEYPOINTS} of people"
        if classes_of(evidence) is None and evidence.kind != "landmarks" and not is_end_to_end:
            return "neither labels nor the file tell keypoints from classes"
    return dataclasses.replace(blank, keypoints=count, keypoint_numbers=each, edges=edges_of(count))


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    if not evidence.named and task_of(evidence) not in (None, "pose"):
        return f"the file says that its task is {task_of(evidence)}"
    cells = read_cells(evidence, 0)
    if isinstance(cells, str):
        return cells
    blank = AnswerFormat("yolov8-pose", evidence.shapes, evidence.size, {"predictions": 0}, strides=cells.strides)
    return _with_keypoints(blank, evidence, cells.numbers - 4, "output 0")


def _told(answer: AnswerFormat) -> dict[str, str]:
    """Keypoints as a file would tell them."""
    return {"kpt_shape": f"[{answer.keypoints}, {answer.keypoint_numbers}]"}


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise, _told(answer), _DECIDED)
    by_cell = is_by_cell(answer.shapes[0], answer.size, answer.strides)
    end = answer.shapes[0][by_cell] - answer.keypoints * answer.keypoint_numbers
    check_labels(labels, end - 4, "output 0")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[0] if by_cell else outputs[0].T
        kept, scores, classes = best_per_class(predictions[:, 4:end], answer.score_threshold)
        some = predictions[kept]
        boxes = in_pixels(corners_of_centres(some[:, :4]), answer)
        points = _keypoints(some[:, end:], answer)
        found = Detections(boxes, scores, classes, labels, points, pairs_of(answer.edges))
        return found.suppressed(answer.iou_threshold, answer.most)

    return decode


def _keypoints(numbers: Float32Array, answer: AnswerFormat) -> Float32Array:
    """(n, keypoints, 3): where a network gives no confidence it is 1."""
    points = numbers.reshape(len(numbers), answer.keypoints, answer.keypoint_numbers)
    if answer.keypoint_numbers == 2:
        points = np.concatenate([points, np.ones_like(points[:, :, :1])], axis=2)
    return points_in_pixels(points.copy(), answer)


def _recognise_rows(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    shape = evidence.shapes[0]
    if len(shape) != 2 or shape[1] < 8:
        return "output 0 is no rows of a box, score, class and keypoints"
    if clause := read_rows(evidence, 0, shape[1], "pose"):
        return clause
    blank = AnswerFormat("yolo26-pose", evidence.shapes, evidence.size, {"rows": 0})
    return _with_keypoints(blank, evidence, shape[1] - 6, "output 0")


def _rows(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_rows, _told(answer), _DECIDED)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        rows = filled(outputs[0], 4, answer.score_threshold, 5)
        points = _keypoints(rows[:, 6:], answer)
        boxes, classes = in_pixels(rows[:, :4], answer), whole(rows[:, 5])
        return Detections(boxes, rows[:, 4], classes, labels, points, pairs_of(answer.edges)).best(answer.most)

    return decode


YOLOV8_POSE = Family(
    "yolov8-pose",
    "YOLOv8, v11 pose: one output, a box, classes and 3 numbers per keypoint for each cell",
    ("detection", "landmarks"),
    _recognise,
    _decoder,
)
YOLO26_POSE = Family(
    "yolo26-pose",
    "YOLO26 pose: rows of left, top, right, bottom, score, class and 3 numbers per keypoint",
    ("detection", "landmarks"),
    _recognise_rows,
    _rows,
)
