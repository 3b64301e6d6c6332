"""YOLOX: per cell 5 + classes numbers, scores as objectness times class.

"yolox": as its export gives it, cells of all levels in a row or one output per level: centre = (xy + cell) stride,
size = exp(wh) stride. "yolox-decoded": with ``--decode_in_inference``, and YOLOv6's one output: pixels already. Both
have one shape, so the user names one. Source: Megvii-BaseDetection/YOLOX yolox/models/yolo_head.py,
yolox/utils/demo_utils.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import contradiction, size_text, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import points_of, stride_of
from multigraft.answers.decoding.selection import are_logits, best_per_class, logit, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.tensors.arrays import Float32Array

DECODED = "yolox-decoded"


def _recognise(name: str, evidence: Evidence) -> AnswerFormat | str:
    if not evidence.named and task_of(evidence) is not None:
        return "the file is one of Ultralytics"
    if len(evidence.shapes) > 1:
        return _recognise_levels(name, evidence)
    cells = read_cells(evidence, 0)
    if isinstance(cells, str):
        return cells
    if not cells.is_by_cell and not evidence.named:
        return "output 0 has its cells last, and YOLOX has them first"
    if cells.numbers < 6:
        return f"output 0 has {cells.numbers} numbers per cell, and a box with one class has 6"
    if clause := contradiction(evidence, cells.numbers - 5, "output 0"):
        return clause
    return AnswerFormat(name, evidence.shapes, evidence.size, {"predictions": 0}, strides=cells.strides)


def _recognise_levels(name: str, evidence: Evidence) -> AnswerFormat | str:
    if name == DECODED:
        return f"there are {len(evidence.shapes)} outputs in place of one"
    levels: dict[int, int] = {}
    for i, shape in enumerate(evidence.shapes):
        stride = stride_of(evidence.size, shape[1], shape[2]) if len(shape) == 3 else None
        if stride is None or stride in levels or shape[0] != evidence.shapes[0][0] or shape[0] < 6:
            return f"output {i} is {size_text(shape)} and no level with 5 + classes numbers per cell"
        levels[stride] = i
    if clause := contradiction(evidence, evidence.shapes[0][0] - 5, "each output"):
        return clause
    strides = tuple(sorted(levels))
    roles = {f"level_{stride}": levels[stride] for stride in strides}
    return AnswerFormat(name, evidence.shapes, evidence.size, roles, strides=strides)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, functools.partial(_recognise, answer.family))
    shape = answer.shapes[0]
    is_joined = "predictions" in answer.roles
    by_cell = is_joined and is_by_cell(shape, answer.size, answer.strides)
    check_labels(labels, (shape[1] if by_cell else shape[0]) - 5, "output 0")
    corners, strides = points_of(answer.size, answer.strides, 0)
    least = answer.score_threshold

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        if is_joined:
            predictions = outputs[0] if by_cell else outputs[0].T
        else:
            levels = [outputs[answer.roles[f"level_{stride}"]] for stride in answer.strides]
            predictions = np.concatenate([level.reshape(level.shape[0], -1) for level in levels], axis=1).T
        raw = are_logits(predictions[:, 4:], answer.scores)
        cells = np.flatnonzero(predictions[:, 4] >= (logit(least) if raw else least))
        some = predictions[cells]
        shares = sigmoid(some[:, 4:]) if raw else some[:, 4:]
        kept, scores, classes = best_per_class(shares[:, 1:] * shares[:, :1], least)
        cells, boxes = cells[kept], some[kept, :4]
        if answer.family != DECODED:
            boxes[:, :2] = boxes[:, :2] * strides[cells] + corners[cells]
            boxes[:, 2:] = np.exp(boxes[:, 2:]) * strides[cells]
        found = in_pixels(corners_of_centres(boxes), answer)
        return Detections(found, scores, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


YOLOX = Family(
    "yolox",
    "YOLOX: 5 + classes numbers per cell, boxes relative to the cell, in one output or one per level",
    ("detection",),
    functools.partial(_recognise, "yolox"),
    _decoder,
)
YOLOX_DECODED = Family(
    DECODED,
    "YOLOX with boxes decoded, YOLOv6: one output, 5 + classes numbers per cell, boxes in pixels",
    ("detection",),
    functools.partial(_recognise, DECODED),
    _decoder,
)
