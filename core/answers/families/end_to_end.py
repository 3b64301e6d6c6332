"""Networks that give boxes one by one, with nothing left to suppress.

"yolov10" (YOLOv10, YOLO26, any Ultralytics export with NMS inside): 300 x 6, each left, top, right, bottom in input
pixels, score, class. Rows that hold nothing have score 0. "yolov7-end2end": rows of 7, number in the batch, left, top,
right, bottom, class, score. Sources: https://docs.ultralytics.com/guides/end2end-detection, WongKinYiu/yolov7
models/experimental.py (ONNX_ORT).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import in_pixels
from multigraft.answers.decoding.cells import read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import several_outputs, size_text, task_of
from multigraft.answers.detections import Detections
from multigraft.answers.families.anchors import PER_CELL
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.tensors.arrays import Float32Array

ROWS = 300
"""Boxes that Ultralytics' exports give unless told otherwise; by this number they are recognised."""


def read_rows(evidence: Evidence, output: int, columns: int, task: str) -> str | None:
    """A clause where an output is not rows of so many columns; without a name, :data:`ROWS` of them and that task."""
    shape = evidence.shapes[output]
    if len(shape) != 2 or shape[1] != columns:
        return f"output {output} is {size_text(shape)} in place of rows of {columns} numbers"
    if not evidence.named:
        if task_of(evidence) not in (None, task):
            return f"the file says that its task is {task_of(evidence)}"
        if shape[0] != ROWS:
            return f"output {output} has {shape[0]} rows in place of {ROWS}"
    return None


def filled(rows: Float32Array, score: int, threshold: float, kind: int) -> Float32Array:
    """A copy of the rows whose score reaches the threshold and whose class is a number from 0 on."""
    some = rows[np.flatnonzero(rows[:, score] >= threshold)]
    # A class beyond what an int32 holds is no class.
    return some[(some[:, kind] > -0.5) & (some[:, kind] < 2**30)]


def whole(values: Float32Array) -> np.typing.NDArray[np.int32]:
    """Classes written as floats."""
    return np.rint(values).astype(np.int32)


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    if clause := read_rows(evidence, 0, 6, "detect"):
        return clause
    return AnswerFormat("yolov10", evidence.shapes, evidence.size, {"rows": 0})


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        rows = filled(outputs[0], 4, answer.score_threshold, 5)
        boxes = in_pixels(rows[:, :4], answer)
        return Detections(boxes, rows[:, 4], whole(rows[:, 5]), labels).best(answer.most)

    return decode


def _recognise_batched(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    shape = evidence.shapes[0]
    if len(shape) != 2 or shape[1] != 7:
        return f"output 0 is {size_text(shape)} in place of rows of 7 numbers"
    if not evidence.named and task_of(evidence) is not None:
        return f"the file says that its task is {task_of(evidence)}, and YOLOv7 writes no such word"
    if not evidence.named and not all(isinstance(read_cells(evidence, 0, n), str) for n in (1, PER_CELL)):
        return f"output 0 has {shape[0]} rows, as many as an input of this size has cells"
    return AnswerFormat("yolov7-end2end", evidence.shapes, evidence.size, {"rows": 0})


def _batched(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_batched)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        rows = filled(outputs[0], 6, answer.score_threshold, 5)
        # Rows that hold nothing are filled up with -1, the number of no picture.
        rows = rows[rows[:, 0] == 0]
        boxes = in_pixels(rows[:, 1:5], answer)
        return Detections(boxes, rows[:, 6], whole(rows[:, 5]), labels).best(answer.most)

    return decode


YOLOV10 = Family(
    "yolov10",
    "YOLOv10, YOLO26 and exports with NMS inside: rows of left, top, right, bottom, score, class",
    ("detection",),
    _recognise,
    _decoder,
)
YOLOV7_END2END = Family(
    "yolov7-end2end",
    "YOLOv7 with NMS inside: rows of number in the batch, left, top, right, bottom, class, score",
    ("detection",),
    _recognise_batched,
    _batched,
)
