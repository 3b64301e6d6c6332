"""YOLOv3, v4, v5, v7: boxes relative to anchors, scores as objectness times class.

Decoded ("yolov5"): one output of (anchors x cells) x (5 + classes): centre x, centre y, width, height in input pixels,
objectness, classes, all probabilities already, as the exporters of YOLOv5 and YOLOv7 (``--grid``) write it.

Raw: per level (anchors x (5 + classes)) x rows x columns, or anchors x rows x columns x (5 + classes). With s the
sigmoid and g the cell: v5 and v7 centre = (2 s - 0.5 + g) stride, size = (2 s)^2 anchor; v3 centre = (s + g) stride,
size = exp(t) anchor; v4 as v3 with the centre stretched around the cell's middle (``scale_x_y``). The raw families have
the same shapes, so the user names one. Sources: ultralytics/yolov5 models/yolo.py and models/*.yaml, WongKinYiu/yolov7
cfg/deploy/*.yaml, YOLOv3 (arXiv:1804.02767), YOLOv4 (arXiv:2004.10934), AlexeyAB/darknet cfg/yolov*.cfg.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, in_pixels
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import contradiction, size_text, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import grid_of, stride_of
from multigraft.answers.decoding.selection import are_logits, best_per_class, logit, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

PER_CELL = 3
Anchors = tuple[tuple[float, ...], ...]
_COCO = ((10, 13, 16, 30, 33, 23), (30, 61, 62, 45, 59, 119), (116, 90, 156, 198, 373, 326))
_COCO_P6 = (
    *((19, 27, 44, 40, 38, 94), (96, 68, 86, 152, 180, 137)),
    *((140, 301, 303, 264, 238, 542), (436, 615, 739, 380, 925, 792)),
)
_WIDE = ((12, 16, 19, 36, 40, 28), (36, 75, 76, 55, 72, 146), (142, 110, 192, 243, 459, 401))
_COARSEST_TINY = (81, 82, 135, 169, 344, 319)


@dataclass(frozen=True)
class _Variant:
    """A way to write boxes, and the anchors of its published networks by the number of levels."""

    anchors: dict[int, Anchors]
    is_squared: bool
    stretch: dict[int, float]


_VARIANTS = {
    "yolov5-raw": _Variant({3: _COCO, 4: _COCO_P6}, True, {}),
    "yolov7-raw": _Variant({3: _WIDE, 4: _COCO_P6}, True, {}),
    "yolov3-raw": _Variant({3: _COCO, 2: ((10, 14, 23, 27, 37, 58), _COARSEST_TINY)}, False, {}),
    "yolov4-raw": _Variant(
        {3: _WIDE, 2: ((23, 27, 37, 58, 81, 82), _COARSEST_TINY)}, False, {8: 1.2, 16: 1.1, 32: 1.05}
    ),
}
_STRIDES = {2: (16, 32), 3: (8, 16, 32), 4: (8, 16, 32, 64)}
_TINY_STRETCH = 1.05


def _recognise_decoded(evidence: Evidence) -> AnswerFormat | str:
    read = [read_cells(evidence, i, PER_CELL) for i in range(len(evidence.shapes))]
    found = [(i, cells) for i, cells in enumerate(read) if not isinstance(cells, str)]
    if len(found) != 1 or any(len(shape) < 3 for i, shape in enumerate(evidence.shapes) if i != found[0][0]):
        return next((clause for clause in read if isinstance(clause, str)), "there is more than one output of cells")
    output, cells = found[0]
    classes = cells.numbers - 5
    if classes < 1:
        return f"output {output} has {cells.numbers} numbers per anchor, and a box with one class has 6"
    if not evidence.named and task_of(evidence) not in (None, "detect"):
        return f"the file says that its task is {task_of(evidence)}"
    if clause := contradiction(evidence, classes, f"output {output}"):
        return clause
    return AnswerFormat("yolov5", evidence.shapes, evidence.size, {"predictions": output}, strides=cells.strides)


def _decoded(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_decoded)
    output = answer.roles["predictions"]
    by_cell = is_by_cell(answer.shapes[output], answer.size, answer.strides, PER_CELL)
    check_labels(labels, answer.shapes[output][by_cell] - 5, f"output {output}")

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        predictions = outputs[output] if by_cell else outputs[output].T
        # No product of probabilities reaches more than its first factor: most anchors end here.
        some = predictions[np.flatnonzero(predictions[:, 4] >= answer.score_threshold)]
        kept, scores, classes = best_per_class(some[:, 5:] * some[:, 4:5], answer.score_threshold)
        boxes = in_pixels(corners_of_centres(some[kept, :4]), answer)
        return Detections(boxes, scores, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


def _recognise_raw(name: str, evidence: Evidence) -> AnswerFormat | str:
    variant = _VARIANTS[name]
    levels: dict[int, int] = {}
    numbers = set()
    for i, shape in enumerate(evidence.shapes):
        read = _read_level(shape, evidence.size)
        if read is None:
            return f"output {i} is {size_text(shape)} and no level of {PER_CELL} anchors per cell"
        stride, count = read
        if stride in levels:
            return f"outputs {levels[stride]} and {i} are of one level"
        levels[stride] = i
        numbers.add(count)
    if len(numbers) != 1 or min(numbers) < 6:
        return "outputs differ in the numbers per anchor, or have fewer than the 6 of a box with one class"
    strides = tuple(sorted(levels))
    if strides != _STRIDES.get(len(strides)) or (not evidence.named and len(strides) not in variant.anchors):
        return f"there are levels of strides {', '.join(map(str, strides))}, which no published network of it has"
    if clause := contradiction(evidence, min(numbers) - 5, "each output"):
        return clause
    return AnswerFormat(
        name,
        evidence.shapes,
        evidence.size,
        {f"level_{stride}": levels[stride] for stride in strides},
        strides=strides,
        anchors=variant.anchors.get(len(strides), ()),
    )


def _read_level(shape: Shape, size: tuple[int, ...]) -> tuple[int, int] | None:
    """Stride of a raw output and its numbers per anchor."""
    match shape:
        case (channels, rows, columns) if channels % PER_CELL == 0:
            numbers = channels // PER_CELL
        case (3, rows, columns, numbers):
            pass
        case _:
            return None
    stride = stride_of(size, rows, columns)
    return None if stride is None else (stride, numbers)


def _raw(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    variant = _VARIANTS[answer.family]
    check_reading(answer, labels, functools.partial(_recognise_raw, answer.family))
    if len(answer.anchors) != len(answer.strides) or any(len(level) != 2 * PER_CELL for level in answer.anchors):
        raise ConfigurationError(
            f"{answer.family} with levels of strides {', '.join(map(str, answer.strides))} needs as many anchors lists",
            f"give, per level from the finest, width and height of {PER_CELL} anchors in input pixels",
        )
    levels = []
    for stride, anchors in zip(answer.strides, answer.anchors, strict=True):
        output = answer.roles[f"level_{stride}"]
        shape = answer.shapes[output]
        count = shape[0] // PER_CELL if len(shape) == 3 else shape[3]
        check_labels(labels, count - 5, f"output {output}")
        stretch = (_TINY_STRETCH if len(answer.strides) == 2 else variant.stretch[stride]) if variant.stretch else 1.0
        levels.append((output, stride, np.array(anchors, np.float32).reshape(-1, 2), stretch))
    least = answer.score_threshold

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        # (anchors, cells, numbers) per level, still views.
        views = [_by_anchor(outputs[output]) for output, _, _, _ in levels]
        raw = any(are_logits(view[:, :, 4], answer.scores) for view in views)
        parts = []
        for view, (_, stride, anchors, stretch) in zip(views, levels, strict=True):
            anchor, cell = np.nonzero(view[:, :, 4] >= (logit(least) if raw else least))
            some = view[anchor, cell]
            shares = sigmoid(some) if raw else some
            kept, scores, classes = best_per_class(shares[:, 5:] * shares[:, 4:5], least)
            row, column = np.divmod(cell[kept], grid_of(answer.size, stride)[1])
            corner = np.stack([column, row], axis=1).astype(np.float32)
            centre, size = shares[kept, :2], anchors[anchor[kept]]
            if variant.is_squared:
                centre, size = 2 * centre - np.float32(0.5), (2 * shares[kept, 2:4]) ** 2 * size
            else:
                centre = stretch * centre - np.float32((stretch - 1) / 2)
                size = np.exp(some[kept, 2:4]) * size
            boxes = corners_of_centres(np.concatenate([(centre + corner) * stride, size], axis=1).astype(np.float32))
            parts.append((boxes, scores, classes))
        boxes, scores, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Detections(boxes, scores, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


def _by_anchor(output: Float32Array) -> Float32Array:
    if output.ndim == 4:
        return output.reshape(PER_CELL, -1, output.shape[3])
    return output.reshape(PER_CELL, output.shape[0] // PER_CELL, -1).transpose(0, 2, 1)


YOLOV5 = Family(
    "yolov5",
    "YOLOv5, v7 with decoded boxes: one output, 5 + classes numbers for each of three anchors per cell",
    ("detection",),
    _recognise_decoded,
    _decoded,
)


def _raw_family(name: str, networks: str) -> Family:
    meaning = f"{networks} without its last layer: per level three anchors with 5 + classes raw numbers"
    return Family(name, meaning, ("detection",), functools.partial(_recognise_raw, name), _raw)


YOLOV5_RAW = _raw_family("yolov5-raw", "YOLOv5")
YOLOV7_RAW = _raw_family("yolov7-raw", "YOLOv7")
YOLOV3_RAW = _raw_family("yolov3-raw", "YOLOv3 and its tiny one")
YOLOV4_RAW = _raw_family("yolov4-raw", "YOLOv4 and its tiny one")
