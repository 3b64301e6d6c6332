"""YOLO with masks: each box has coefficients of prototypes that the network draws once for the whole input.

"yolov8-seg": per cell a box, a probability per class, 32 coefficients; "yolov5-seg": per anchor a box, objectness,
classes, coefficients; "yolo26-seg": rows of left, top, right, bottom, score, class, coefficients. Beside it the
prototypes, 32 x a quarter of the input. Mask = sigmoid(coefficients @ prototypes) above one half, within the box.
Sources: YOLACT (arXiv:1904.02689), ultralytics/ultralytics nn/modules/head.py (Segment), ultralytics/yolov5
models/yolo.py (Segment).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import contradiction, size_text, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import best_per_class
from multigraft.answers.detections import Detections
from multigraft.answers.families.anchors import PER_CELL
from multigraft.answers.families.end_to_end import filled, read_rows, whole
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.suppression import suppress
from multigraft.answers.masks import block_of, mask_of_prototypes
from multigraft.tensors.arrays import Float32Array

MOST_INPUTS = 16
"""Pixels of all masks of one frame together, in areas of the input; masks of lower scores are left out with their
boxes, so that a confused network cannot fill a device's memory."""


def _recognise(name: str, per_cell: int, before: int, evidence: Evidence) -> AnswerFormat | str:
    prototypes = _prototypes(evidence)
    if isinstance(prototypes, str):
        return prototypes
    predictions = 1 - prototypes
    coefficients = evidence.shapes[prototypes][0]
    roles = {"predictions": predictions, "prototypes": prototypes}
    blank = AnswerFormat(name, evidence.shapes, evidence.size, roles)
    if not per_cell:
        clause = read_rows(evidence, predictions, before + coefficients, "segment")
        return clause or blank
    if not evidence.named and task_of(evidence) not in (None, "segment"):
        return f"the file says that its task is {task_of(evidence)}"
    cells = read_cells(evidence, predictions, per_cell)
    if isinstance(cells, str):
        return cells
    classes = cells.numbers - before - coefficients
    if classes < 1:
        return f"output {predictions} has {cells.numbers} numbers per cell, of which {coefficients} are coefficients"
    if clause := contradiction(evidence, classes, f"output {predictions}"):
        return clause
    return dataclasses.replace(blank, strides=cells.strides)


def _prototypes(evidence: Evidence) -> int | str:
    """Number of the output that holds the prototypes."""
    if len(evidence.shapes) != 2:
        return f"there are {len(evidence.shapes)} outputs in place of predictions and prototypes"
    found = [i for i, shape in enumerate(evidence.shapes) if len(shape) == 3]
    if len(found) != 1:
        return "not one output of two has the three axes of prototypes"
    shape = evidence.shapes[found[0]]
    if not evidence.named and shape[1] * evidence.size[1] != shape[2] * evidence.size[0]:
        return f"output {found[0]} is {size_text(shape)}, which is not the input made smaller"
    return found[0]


def _decoder(per_cell: int, before: int, answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, functools.partial(_recognise, answer.family, per_cell, before))
    output, prototypes = answer.roles["predictions"], answer.roles["prototypes"]
    shape, coefficients = answer.shapes[output], answer.shapes[prototypes][0]
    by_cell = not per_cell or is_by_cell(shape, answer.size, answer.strides, per_cell)
    end = shape[by_cell] - coefficients
    if per_cell:
        check_labels(labels, end - before, f"output {output}")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[output] if by_cell else outputs[output].T
        if not per_cell:
            some = filled(predictions, 4, answer.score_threshold, 5)
            boxes, scores, classes = some[:, :4].copy(), some[:, 4], whole(some[:, 5])
        else:
            if before == 5:
                predictions = predictions[np.flatnonzero(predictions[:, 4] >= answer.score_threshold)]
            likely = predictions[:, before:end]
            likely = likely * predictions[:, 4:5] if before == 5 else likely
            kept, scores, classes = best_per_class(likely, answer.score_threshold)
            some = predictions[kept]
            boxes = corners_of_centres(some[:, :4])
        weights = some[:, end:]
        sound = np.flatnonzero(np.isfinite(some).all(axis=1))
        boxes, scores, classes, weights = boxes[sound], scores[sound], classes[sound], weights[sound]
        boxes = in_pixels(boxes, answer)
        # Suppressed before boxes are cut at the border of the input: what the network says counts.
        kept = (
            suppress(boxes, scores, classes, answer.iou_threshold, answer.most)
            if per_cell
            else np.argsort(-scores, kind="stable")[: answer.most]
        )
        limits = np.array([answer.size[1], answer.size[0]] * 2, np.float32)
        found = Detections(np.clip(boxes[kept], 0, limits), scores[kept], classes[kept], labels).sound()
        return _masked(found, weights[kept], outputs[prototypes], answer)

    return decode


def _masked(found: Detections, weights: Float32Array, prototypes: Float32Array, answer: AnswerFormat) -> Detections:
    """With masks, as many as :data:`MOST_INPUTS` allow."""
    height, width = answer.size
    blocks = [block_of(box) for box in found.boxes]
    areas = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in blocks]
    count = int(np.searchsorted(np.cumsum(areas), MOST_INPUTS * height * width, side="right"))
    masks = [mask_of_prototypes(weights[i], prototypes, blocks[i], (height, width)) for i in range(count)]
    return dataclasses.replace(found.chosen(range(count)), masks=tuple(masks))


def _family(name: str, meaning: str, per_cell: int, before: int) -> Family:
    return Family(
        name,
        meaning,
        ("detection", "segmentation"),
        functools.partial(_recognise, name, per_cell, before),
        functools.partial(_decoder, per_cell, before),
    )


YOLOV8_SEG = _family(
    "yolov8-seg", "YOLOv8, v11 masks: 4 + classes + 32 numbers for each cell, and prototypes of masks", 1, 4
)
YOLOV5_SEG = _family(
    "yolov5-seg", "YOLOv5 masks: 5 + classes + 32 numbers for each anchor, and prototypes of masks", PER_CELL, 5
)
YOLO26_SEG = _family(
    "yolo26-seg", "YOLO26 masks: rows of box, score, class and 32 coefficients, and prototypes of masks", 0, 6
)
