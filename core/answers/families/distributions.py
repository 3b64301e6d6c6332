"""Boxes whose edges are distributions over distances: YOLOv8 and later before their last layers, NanoDet, PicoDet.

The distance of an edge from the middle of its cell, in strides, is the mean of a softmax over ``bins`` numbers
(Generalized Focal Loss, arXiv:2006.04388); with one bin it is the number itself (YOLO26).

"yolov8-raw": per level 4 x 16 + classes channels, or boxes and classes apart, with a sum of scores that RKNN's exports
add or without. "nanodet": classes + 4 x 8 numbers per cell, all levels in one output, or per level, together or apart.
NanoDet-Plus (four levels, classes and distances together) measures from the corner of a cell, all others from its
middle.
Sources: ultralytics/ultralytics nn/modules/head.py (Detect), RangiLyu/nanodet model/head/nanodet_plus_head.py and
gfl_head.py, PaddlePaddle/PaddleDetection ppdet/modeling/heads/pico_head.py (cell_offset).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_distances
from multigraft.answers.decoding.cells import is_by_cell, read_cells
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import classes_of, contradiction, size_text, task_of
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import grid_of, points_of, stride_of
from multigraft.answers.decoding.selection import are_logits, best_per_class, logit, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array


@dataclass(frozen=True)
class _Variant:
    bins: int
    boxes_first: bool
    strides: tuple[tuple[int, ...], ...]


_VARIANTS = {
    "yolov8-raw": _Variant(16, True, ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))),
    "nanodet": _Variant(8, False, ((8, 16, 32, 64), (8, 16, 32))),
}
_CORNER_LEVELS = 4
"""Levels of NanoDet-Plus; its forerunner NanoDet-m has three."""


def _recognise(name: str, evidence: Evidence) -> AnswerFormat | str:
    variant = _VARIANTS[name]
    if not evidence.named and task_of(evidence) not in (None, "detect"):
        return f"the file says that its task is {task_of(evidence)}"
    if not evidence.named and task_of(evidence) is not None and not variant.boxes_first:
        return "the file is one of Ultralytics"
    if len(evidence.shapes) == 1:
        return _recognise_joined(name, evidence)
    groups: dict[int, list[int]] = {}
    for i, shape in enumerate(evidence.shapes):
        stride = _stride(shape, evidence.size)
        if stride is None:
            return f"output {i} is {size_text(shape)} and no level of an input of this size"
        groups.setdefault(stride, []).append(i)
    strides = tuple(sorted(groups))
    if strides not in variant.strides:
        return f"there are levels of strides {', '.join(map(str, strides))}"
    blank = AnswerFormat(name, evidence.shapes, evidence.size, strides=strides)
    widths = {tuple(_channels(evidence.shapes[i]) for i in groups[stride]) for stride in strides}
    if len(widths) != 1:
        return "levels differ in their channels"
    return _with_roles(blank, evidence, list(widths.pop()), groups)


def _recognise_joined(name: str, evidence: Evidence) -> AnswerFormat | str:
    variant = _VARIANTS[name]
    cells = read_cells(evidence, 0, sets=variant.strides)
    if isinstance(cells, str):
        return cells
    if variant.boxes_first and not evidence.named:
        return "there is one output in place of one per level"
    if not cells.is_by_cell and not evidence.named:
        return "output 0 has its cells last, and NanoDet has them first"
    blank = AnswerFormat(name, evidence.shapes, evidence.size, {"joined": 0}, strides=cells.strides)
    return _with_bins(blank, evidence, cells.numbers)


def _with_roles(
    blank: AnswerFormat, evidence: Evidence, widths: list[int], groups: dict[int, list[int]]
) -> AnswerFormat | str:
    variant = _VARIANTS[blank.family]
    if len(widths) == 1:
        roles = {f"joined_{stride}": outputs[0] for stride, outputs in groups.items()}
        return _with_bins(dataclasses.replace(blank, roles=roles), evidence, widths[0])
    if len(widths) == 3 and widths[2] == 1 and variant.boxes_first:
        widths = widths[:2]
    if len(widths) != 2:
        return f"there are {len(widths)} outputs per level in place of one or two"
    wanted = [i for i, width in enumerate(widths) if width == 4 * variant.bins]
    if not wanted:
        return f"no output of a level has the {4 * variant.bins} channels of four edges"
    # Where both have, the order of the family's own export decides.
    first = (0 if variant.boxes_first else 1) if len(wanted) == 2 else wanted[0]
    roles = {f"boxes_{stride}": outputs[first] for stride, outputs in groups.items()}
    roles |= {f"scores_{stride}": outputs[1 - first] for stride, outputs in groups.items()}
    if clause := contradiction(evidence, widths[1 - first], "each level"):
        return clause
    return dataclasses.replace(blank, roles=roles, bins=variant.bins)


def _with_bins(blank: AnswerFormat, evidence: Evidence, width: int) -> AnswerFormat | str:
    """Bins and classes of numbers that stand together: the published number of bins, else what the labels leave."""
    variant, known = _VARIANTS[blank.family], classes_of(evidence)
    choices = (variant.bins, 1) if variant.boxes_first and known is not None else (variant.bins,)
    for bins in choices:
        classes = width - 4 * bins
        if classes >= 1 and (known is None or classes == known):
            return dataclasses.replace(blank, bins=bins)
    if evidence.named and known is not None and width > known and (width - known) % 4 == 0:
        return dataclasses.replace(blank, bins=(width - known) // 4)
    if evidence.named and width > 4 * variant.bins:
        return dataclasses.replace(blank, bins=variant.bins)
    return f"{width} numbers per cell are not {4 * variant.bins} for four edges and one per class"


def _stride(shape: Shape, size: tuple[int, ...]) -> int | None:
    match shape:
        case (_, rows, columns):
            return stride_of(size, rows, columns)
        case (cells, _):
            return next((s for s in (4, 8, 16, 32, 64) if np.prod(grid_of(size, s)) == cells), None)
    return None


def _channels(shape: Shape) -> int:
    return shape[0] if len(shape) == 3 else shape[1]


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    variant = _VARIANTS[answer.family]
    check_reading(answer, labels, functools.partial(_recognise, answer.family), fields=("strides",))
    width = 4 * answer.bins
    is_together = not any(role.startswith("boxes") for role in answer.roles)
    offset = 0.0 if not variant.boxes_first and is_together and len(answer.strides) == _CORNER_LEVELS else 0.5
    points, steps = points_of(answer.size, answer.strides, offset)
    by_cell = "joined" in answer.roles and is_by_cell(answer.shapes[0], answer.size, answer.strides)
    if "joined" in answer.roles:
        total = answer.shapes[0][by_cell] - width
    else:
        role = f"joined_{answer.strides[0]}" if is_together else f"scores_{answer.strides[0]}"
        total = _channels(answer.shapes[answer.roles[role]]) - (width if is_together else 0)
    if total < 1 or answer.bins < 1:
        raise ConfigurationError(f"{answer.family} with {answer.bins} bins leaves {total} classes", "give other bins")
    check_labels(labels, total, "each level")
    _check_levels(answer, total)
    edges = slice(0, width) if variant.boxes_first else slice(total, None)
    kinds = slice(width, None) if variant.boxes_first else slice(0, total)

    def parts(outputs: Sequence[Float32Array]) -> list[tuple[Float32Array, Float32Array]]:
        """Views of edges and scores, by cell, level by level."""
        if "joined" in answer.roles:
            joined = [outputs[0] if by_cell else outputs[0].T]
        elif is_together:
            joined = [_by_cell(outputs[answer.roles[f"joined_{stride}"]]) for stride in answer.strides]
        else:
            return [
                tuple(_by_cell(outputs[answer.roles[f"{role}_{stride}"]]) for role in ("boxes", "scores"))  # type: ignore[misc]
                for stride in answer.strides
            ]
        return [(level[:, edges], level[:, kinds]) for level in joined]

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        levels = parts(outputs)
        raw = any(are_logits(scores, answer.scores) for _, scores in levels)
        least = logit(answer.score_threshold) if raw else answer.score_threshold
        found, before = [], 0
        for distances, level in levels:
            kept, scores, classes = best_per_class(level, least)
            found.append((distances[kept], scores, classes, kept + before))
            before += len(level)
        distances, scores, classes, cells = (np.concatenate(part) for part in zip(*found, strict=True))
        reach = _means(distances, answer.bins) * steps[cells]
        boxes = corners_of_distances(points[cells], reach)
        probabilities = sigmoid(scores) if raw else scores
        return Detections(boxes, probabilities, classes, labels).suppressed(answer.iou_threshold, answer.most)

    return decode


def _check_levels(answer: AnswerFormat, classes: int) -> None:
    """Refuse roles whose outputs are of another level, or of another width."""
    widths = {"boxes": 4 * answer.bins, "scores": classes, "joined": 4 * answer.bins + classes}
    for role, output in answer.roles.items():
        kind, _, stride = role.partition("_")
        shape = answer.shapes[output]
        if stride and (_stride(shape, answer.size) != int(stride) or _channels(shape) != widths[kind]):
            raise ConfigurationError(
                f"output {output} is {size_text(shape)} and can't be {role} of {widths[kind]} numbers", "name others"
            )


def _by_cell(level: Float32Array) -> Float32Array:
    return level if level.ndim == 2 else level.reshape(level.shape[0], -1).T


def _means(distances: Float32Array, bins: int) -> Float32Array:
    """(n, 4 x bins) as (n, 4) distances in strides."""
    if bins == 1:
        return distances
    each = distances.reshape(-1, 4, bins)
    weights = np.exp(each - each.max(axis=2, keepdims=True))
    means: Float32Array = weights @ np.arange(bins, dtype=np.float32) / weights.sum(axis=2)
    return means


YOLOV8_RAW = Family(
    "yolov8-raw",
    "YOLOv8, v9, v11, v12 without their last layers: per level 4 x 16 numbers for the box and one per class",
    ("detection",),
    functools.partial(_recognise, "yolov8-raw"),
    _decoder,
)
NANODET = Family(
    "nanodet",
    "NanoDet, NanoDet-Plus, PicoDet: one number per class and 4 x 8 for the box, in one output or per level",
    ("detection",),
    functools.partial(_recognise, "nanodet"),
    _decoder,
)
