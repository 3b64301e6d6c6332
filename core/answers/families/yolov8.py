"""YOLOv8, v9, v11, v12 with decoded boxes: one output of 4 + classes numbers per cell, cells of all levels in a row.

Box: centre x, centre y, width, height in input pixels; scores are probabilities already (Ultralytics, export to ONNX
without NMS). Source: https://docs.ultralytics.com/modes/export.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import classes_of, contradiction, several_outputs, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import best_per_class
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.tensors.arrays import Float32Array

KNOWN_OTHERS = {56: "one class with 17 keypoints (yolov8-pose)", 20: "15 classes with an angle (yolov8-obb)"}
"""Numbers per cell of published networks of other families; without labels they are not taken for classes."""


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    cells = read_cells(evidence, 0)
    if isinstance(cells, str):
        return cells
    classes = cells.numbers - 4
    if classes < 1:
        return f"output 0 has {cells.numbers} numbers per cell, and a box with one score has 5"
    if clause := contradiction(evidence, classes, "output 0"):
        return clause
    if not evidence.named:
        if task_of(evidence) not in (None, "detect"):
            return f"the file says that its task is {task_of(evidence)}"
        if task_of(evidence) is None and classes_of(evidence) is None and cells.numbers in KNOWN_OTHERS:
            return f"output 0 has {cells.numbers} numbers per cell, which may be {KNOWN_OTHERS[cells.numbers]}"
    return AnswerFormat("yolov8", evidence.shapes, evidence.size, {"predictions": 0}, strides=cells.strides)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise)
    by_cell = is_by_cell(answer.shapes[0], answer.size, answer.strides)
    check_labels(labels, answer.shapes[0][by_cell] - 4, "output 0")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[0] if by_cell else outputs[0].T
        kept, scores, classes = best_per_class(predictions[:, 4:], answer.score_threshold)
        boxes = in_pixels(corners_of_centres(predictions[kept, :4]), answer)
        return Detections(boxes, scores, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


YOLOV8 = Family(
    "yolov8",
    "YOLOv8, v9, v11, v12: one output, 4 + classes numbers per cell, boxes decoded, scores as probabilities",
    ("detection",),
    _recognise,
    _decoder,
)
