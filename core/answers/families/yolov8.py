"""YOLOv8, v9, v11, v12 with decoded boxes: one output of 4 + classes numbers per cell, cells of three levels in a row.

Box: centre x, centre y, width, height in input pixels; scores are probabilities already (Ultralytics, export to ONNX
without NMS). Source: https://docs.ultralytics.com/modes/export.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.boxes import corners_of_centres
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.label_check import check_labels
from multigraft.answers.levels import cells_of
from multigraft.answers.selection import best_per_class
from multigraft.tensors.arrays import Float32Array

STRIDES = (8, 16, 32)


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if len(evidence.shapes) != 1:
        return f"there are {len(evidence.shapes)} outputs in place of one"
    shape = evidence.shapes[0]
    cells = cells_of(evidence.size, STRIDES)
    if len(shape) != 2 or cells not in shape:
        return f"output 0 is {' x '.join(map(str, shape))} and has to have {cells} cells for an input of this size"
    numbers = shape[0] if shape[1] == cells else shape[1]
    if numbers < 5:
        return f"output 0 has {numbers} numbers per cell, and a box with one score has 5"
    return AnswerFormat("yolov8", evidence.shapes, evidence.size, {"predictions": 0}, strides=STRIDES)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    cells = cells_of(answer.size, answer.strides)
    is_by_cell = answer.shapes[0][0] == cells
    check_labels(labels, answer.shapes[0][is_by_cell] - 4, "output 0")

    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[0] if is_by_cell else outputs[0].T
        kept, scores, classes = best_per_class(predictions[:, 4:], answer.score_threshold)
        boxes = corners_of_centres(predictions[kept, :4])
        if answer.normalised:
            boxes *= np.array([answer.size[1], answer.size[0]] * 2, np.float32)
        return Detections(boxes, scores, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


YOLOV8 = Family(
    "yolov8",
    "YOLOv8, v9, v11, v12: one output, 4 + classes numbers per cell, boxes decoded, scores as probabilities",
    ("detection",),
    _recognise,
    _decoder,
)
