"""YOLO with rotated boxes (OBB).

"yolov8-obb": per cell centre x, centre y, width, height, a probability per class, angle in radians. "yolo26-obb": rows
of centre x, centre y, width, height, score, class, angle, nothing left to suppress. Source: ultralytics/ultralytics
nn/modules/head.py (OBB.forward, OBB.postprocess), utils/ops.py (xywhr2xyxyxyxy), utils/nms.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import in_pixels, upright_around
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import contradiction, several_outputs, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import best_per_class
from multigraft.answers.detections import Detections
from multigraft.answers.families.end_to_end import filled, read_rows, whole
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.rotated import corners_of_rotated, suppress_rotated
from multigraft.tensors.arrays import Float32Array


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    if not evidence.named and task_of(evidence) != "obb":
        return "the file does not say that its task is obb, and an angle looks like one more class"
    cells = read_cells(evidence, 0)
    if isinstance(cells, str):
        return cells
    if cells.numbers < 6:
        return f"output 0 has {cells.numbers} numbers per cell, and a box with one score and an angle has 6"
    if clause := contradiction(evidence, cells.numbers - 5, "output 0"):
        return clause
    return AnswerFormat("yolov8-obb", evidence.shapes, evidence.size, {"predictions": 0}, strides=cells.strides)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise)
    by_cell = is_by_cell(answer.shapes[0], answer.size, answer.strides)
    check_labels(labels, answer.shapes[0][by_cell] - 5, "output 0")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[0] if by_cell else outputs[0].T
        kept, scores, classes = best_per_class(predictions[:, 4:-1], answer.score_threshold)
        boxes = _in_pixels(predictions[kept][:, [0, 1, 2, 3, -1]], answer)
        sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        boxes, scores, classes = boxes[sound], scores[sound], classes[sound]
        kept = suppress_rotated(boxes, scores, classes, answer.iou_threshold, answer.most)
        return _detections(boxes[kept], scores[kept], classes[kept], labels)

    return decode


def _detections(
    boxes: Float32Array, scores: Float32Array, classes: np.typing.NDArray[np.int32], labels: tuple[str, ...]
) -> Detections:
    corners = corners_of_rotated(boxes)
    return Detections(upright_around(corners), scores, classes, labels, corners=corners).sound()


def _in_pixels(boxes: Float32Array, answer: AnswerFormat) -> Float32Array:
    # An angle is one of pixels already: shares of a square input alone could carry it.
    in_pixels(boxes[:, :4], answer)
    return boxes


def _recognise_rows(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    if clause := read_rows(evidence, 0, 7, "obb"):
        return clause
    return AnswerFormat("yolo26-obb", evidence.shapes, evidence.size, {"rows": 0})


def _rows(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_rows)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        rows = filled(outputs[0], 4, answer.score_threshold, 5)
        boxes = _in_pixels(rows[:, [0, 1, 2, 3, 6]], answer)
        return _detections(boxes, rows[:, 4], whole(rows[:, 5]), labels).best(answer.most)

    return decode


YOLOV8_OBB = Family(
    "yolov8-obb",
    "YOLOv8, v11 with rotated boxes: one output, a box, classes and an angle for each cell",
    ("detection",),
    _recognise,
    _decoder,
)
YOLO26_OBB = Family(
    "yolo26-obb",
    "YOLO26 with rotated boxes: rows of centre x, centre y, width, height, score, class, angle",
    ("detection",),
    _recognise_rows,
    _rows,
)
