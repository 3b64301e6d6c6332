"""Where the outputs of a detector hold its candidates, family by family: what ``kernels/c/boxes.h`` reads.

A family is read as its decoder in :mod:`multigraft.answers.families` reads it, but with *places* (numbers that say
which tensor and which element) in place of real numbers. So whatever joins, transposes or parts the outputs, what comes
out says where each number of each candidate lies in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.cells import is_by_cell
from multigraft.answers.decoding.levels import cells_of, grid_of, points_of
from multigraft.answers.decoding.selection import logit, sigmoid
from multigraft.answers.families.faces import retinaface_priors
from multigraft.answers.families.mediapipe import mediapipe_anchors
from multigraft.answers.families.plain import count_of_boxes
from multigraft.answers.families.ssd import anchors_of_format
from multigraft.answers.geometry.anchors import MOST_GROWN
from multigraft.tensors.arrays import Float32Array

PART = 1 << 40
"""Places of the tensor after the next one begin so much later."""
Places = npt.NDArray[np.int64]
Change = Callable[[Float32Array], Float32Array]
"""Of real numbers, element by element: what a table makes of them."""


def same(values: Float32Array) -> Float32Array:
    """Real numbers as they are."""
    return values


@dataclass(frozen=True)
class Block:
    """Candidates that lie on one grid; a candidate is a row.

    Attributes:
        scores: (n, classes) places.
        first: (n, 2) places of the first two numbers of a box, x before y; None where they are 0.
        second: (n, 2) places of the other two.
        object: (n,) places of what all scores are multiplied by; None without.
        points: (n, 2) what the first two are added to; None without.
        sides: (n, 4) what all four are multiplied by.
        stride: What points are multiplied by at last.
        changes: Of the first and of the second two numbers; for probabilities, and for raw scores.
        raw_changes: The same where scores are raw.
    """

    scores: Places
    first: Places | None
    second: Places
    object: Places | None = None
    points: Float32Array | None = None
    sides: Float32Array | None = None
    stride: float = 1.0
    changes: tuple[Change, Change] = (same, same)
    raw_changes: tuple[Change, Change] | None = None


@dataclass(frozen=True)
class Candidates:
    """All candidates of a detector.

    Attributes:
        blocks: In the order in which equal scores are sorted.
        form: ``corners``, ``sizes``, ``centres``, ``points`` or ``distances``: what the numbers of a box are.
        scores: ``probabilities``, ``logits``, or ``""`` where a score below -0.5 tells that they are raw.
        peaks: Each class is a map, and candidates are what no neighbour exceeds.
        overlaps: Of boxes that overlap: ``best`` (the best is left), ``mean`` (their mean is), or ``all``.
        shares: Coordinates are shares of the input.
        ends: Boxes end at the border of the input before they are compared.
        by_share: Raw scores are compared with the threshold after their sigmoid, not before.
        object_tells: Whether scores are raw is told by what they are multiplied by alone.
    """

    blocks: tuple[Block, ...]
    form: str
    scores: str
    peaks: bool = False
    overlaps: Literal["best", "mean", "all"] = "best"
    shares: bool = False
    ends: bool = False
    by_share: bool = False
    object_tells: bool = False


def _yolov8(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    rows = _by_cell(answer, outputs[0])
    points = answer.keypoints * answer.keypoint_numbers if answer.family == "yolov8-pose" else 0
    block = Block(rows[:, 4 : rows.shape[1] - points], rows[:, :2], rows[:, 2:4])
    return Candidates((block,), "centres", "probabilities", shares=answer.normalised)


def _yolov5(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    rows = _by_cell(answer, outputs[answer.roles["predictions"]], 3)
    block = Block(rows[:, 5:], rows[:, :2], rows[:, 2:4], rows[:, 4])
    return Candidates((block,), "centres", "probabilities", shares=answer.normalised)


def _yolox(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    if "predictions" in answer.roles:
        rows = _by_cell(answer, outputs[0])
    else:
        levels = [outputs[answer.roles[f"level_{stride}"]] for stride in answer.strides]
        rows = np.concatenate([level.reshape(level.shape[0], -1) for level in levels], axis=1).T
    if answer.family == "yolox-decoded":
        block = Block(rows[:, 5:], rows[:, :2], rows[:, 2:4], rows[:, 4])
        return Candidates((block,), "centres", answer.scores, shares=answer.normalised)
    blocks, start = [], 0
    for stride in answer.strides:
        some = rows[start : start + cells_of(answer.size, (stride,))]
        start += len(some)
        points = points_of(answer.size, (stride,), 0)[0]
        sides = np.full((len(some), 4), stride, np.float32)
        changes = (same, _exponential)
        blocks.append(Block(some[:, 5:], some[:, :2], some[:, 2:4], some[:, 4], points, sides, 1.0, changes))
    return Candidates(tuple(blocks), "points", answer.scores, shares=answer.normalised)


def _anchors_raw(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    is_squared = answer.family in ("yolov5-raw", "yolov7-raw")
    blocks = []
    for stride, pairs in zip(answer.strides, answer.anchors, strict=True):
        level = outputs[answer.roles[f"level_{stride}"]]
        corners = points_of(grid_of(answer.size, stride), (1,), 0)[0]
        stretch = _stretch(answer, stride)
        changes: tuple[Change, Change] = (stretch, _exponential)
        raw_changes: tuple[Change, Change] = (_then(sigmoid, stretch), _exponential)
        if is_squared:
            changes, raw_changes = (_spread, _squared), (_then(sigmoid, _spread), _then(sigmoid, _squared))
        by_anchor = level.reshape(3, -1, level.shape[3]) if level.ndim == 4 else (
            level.reshape(3, level.shape[0] // 3, -1).transpose(0, 2, 1)
        )  # fmt: skip
        for anchor, some in enumerate(by_anchor):
            size = np.array([1.0, 1.0, *pairs[2 * anchor : 2 * anchor + 2]], np.float32)
            sides = np.tile(size, (len(some), 1))
            blocks.append(
                Block(
                    some[:, 5:], some[:, :2], some[:, 2:4], some[:, 4], corners, sides, float(stride), changes,
                    raw_changes,
                )
            )  # fmt: skip
    return Candidates(tuple(blocks), "points", answer.scores, object_tells=True)


def _stretch(answer: AnswerFormat, stride: int) -> Change:
    """What YOLOv4 does to shares of a cell; nothing for YOLOv3."""
    if answer.family != "yolov4-raw":
        return _stretched(1.0)
    return _stretched(1.05 if len(answer.strides) == 2 else {8: 1.2, 16: 1.1, 32: 1.05}[stride])


def _stretched(by: float) -> Change:
    return lambda values: by * values - np.float32((by - 1) / 2)


def _centernet(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    heat, sizes = (outputs[answer.roles[role]] for role in ("heat", "sizes"))
    kinds, rows, columns = heat.shape
    offsets = outputs[answer.roles["offsets"]].reshape(2, -1).T if "offsets" in answer.roles else None
    points = points_of((rows, columns), (1,), 0.5 if offsets is None else 0)[0]
    stride = answer.strides[0]
    sides = np.tile(np.array([1, 1, stride, stride], np.float32), (rows * columns, 1))
    block = Block(
        heat.reshape(kinds, -1).T, offsets, sizes.reshape(2, -1).T, None, points, sides, float(stride)
    )  # fmt: skip
    return Candidates((block,), "points", answer.scores, peaks=True, overlaps="all")


def _plain(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates | str:
    if others := sorted(answer.roles.keys() - {"boxes", "scores", "keypoints"}):
        return f"plain with {others[0]}"
    if "scores" not in answer.roles:
        return "plain with scores beside the boxes"
    boxes, likely = (np.squeeze(outputs[answer.roles[role]]) for role in ("boxes", "scores"))
    boxes = np.atleast_2d(boxes)
    count = count_of_boxes(answer)
    boxes = boxes if boxes.shape[0] == count else boxes.T
    likely = likely.reshape(count, -1) if likely.ndim == 1 or likely.shape[0] == count else likely.T
    if answer.boxes == "y_first":
        boxes = boxes[:, [1, 0, 3, 2]]
    form = {"y_first": "corners"}.get(answer.boxes, answer.boxes)
    block = Block(likely, boxes[:, :2], boxes[:, 2:4])
    return Candidates(
        (block,),
        form,
        answer.scores,
        overlaps="best" if likely.shape[1] > 1 else "all",
        shares=answer.normalised,
        by_share=True,
    )


def _ssd(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates | str:
    boxes, likely = (outputs[answer.roles[role]] for role in ("boxes", "scores"))
    is_tensorflow = answer.family == "ssd-tf"
    said = answer.scores or ("probabilities" if _are_probabilities(likely, real) else "")
    if said != "probabilities" and not (said == "logits" and is_tensorflow):
        return f"{answer.family} whose scores may be raw (say what they are: scores)"
    if answer.family == "ssd-decoded":
        block = Block(likely[:, 1:], boxes[:, :2], boxes[:, 2:])
        return Candidates((block,), "corners", said, shares=answer.normalised)
    if "anchors" in answer.roles:
        return f"{answer.family} with an output of anchors"
    anchors = anchors_of_format(answer, len(boxes))
    if is_tensorflow:
        boxes = boxes[:, [1, 0, 3, 2]]
    ends = not is_tensorflow
    blocks = tuple(_deltas(likely[some, 1:], boxes[some], anchors[some]) for some in _levels(anchors))
    return Candidates(blocks, "points", said, by_share=True, ends=ends)


def _retinaface(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates | str:
    boxes, pair = (outputs[answer.roles[role]] for role in ("boxes", "scores"))
    if answer.scores == "logits" or not (answer.scores or _are_probabilities(pair, real)):
        return "retinaface whose scores may be raw (say what they are: scores)"
    anchors = retinaface_priors(answer.size)
    blocks = tuple(_deltas(pair[some, 1:], boxes[some], anchors[some]) for some in _levels(anchors))
    return Candidates(blocks, "points", "probabilities")


def _deltas(scores: Places, boxes: Places, anchors: Float32Array) -> Block:
    sides = anchors[:, [2, 3, 2, 3]]
    return Block(scores, boxes[:, :2], boxes[:, 2:], None, anchors[:, :2], sides, 1.0, (_tenth, _grown))


def _levels(points: Float32Array) -> list[slice]:
    """Rows of each level of a set of points: they go right and down, and those of the next begin before; levels of one
    cell in the same place count as one.
    """
    right, down = np.diff(points[:, :2], axis=0).T
    starts = [0, *(int(n) + 1 for n in np.flatnonzero((down < 0) | ((down == 0) & (right < 0)))), len(points)]
    return [slice(a, b) for a, b in itertools.pairwise(starts)]


def _are_probabilities(places: Places, real: Sequence[Float32Array]) -> bool:
    """Whether no stored value is less than 0 or more than 1, but for rounding."""
    tensors = np.unique(places // PART).tolist()
    return all(real[tensor].min() >= -0.01 and real[tensor].max() <= 1.01 for tensor in tensors)


def _mediapipe(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates | str:
    boxes, likely = (outputs[answer.roles[role]] for role in ("boxes", "scores"))
    points = mediapipe_anchors(answer.size, len(boxes))
    if points is None:
        return "mediapipe with other anchors"
    ones = np.ones((len(boxes), 4), np.float32)
    blocks = tuple(
        Block(likely[some], boxes[some, :2], boxes[some, 2:4], None, points[some], ones[some])
        for some in _levels(points)
    )
    return Candidates(blocks, "points", "logits", overlaps="mean")


def _scrfd(answer: AnswerFormat, outputs: Sequence[Places], real: Sequence[Float32Array]) -> Candidates:
    blocks = []
    for stride in answer.strides:
        likely, boxes = (outputs[answer.roles[f"{role}_{stride}"]] for role in ("scores", "boxes"))
        each = len(boxes) // cells_of(answer.size, (stride,))
        points = points_of(answer.size, (stride,), 0, each)[0]
        sides = np.full((len(boxes), 4), stride, np.float32)
        blocks.append(Block(likely[:, :1], boxes[:, :2], boxes[:, 2:], None, points, sides))
    return Candidates(tuple(blocks), "distances", answer.scores)


Reader = Callable[[AnswerFormat, Sequence[Places], Sequence[Float32Array]], Candidates | str]

READERS: dict[str, Reader] = {
    "yolov8": _yolov8,
    "yolov8-pose": _yolov8,
    "yolov5": _yolov5,
    "yolov5-raw": _anchors_raw,
    "yolov7-raw": _anchors_raw,
    "yolov3-raw": _anchors_raw,
    "yolov4-raw": _anchors_raw,
    "yolox": _yolox,
    "yolox-decoded": _yolox,
    "centernet": _centernet,
    "plain": _plain,
    "ssd": _ssd,
    "ssd-tf": _ssd,
    "ssd-decoded": _ssd,
    "mediapipe": _mediapipe,
    "scrfd": _scrfd,
    "retinaface": _retinaface,
}
"""By family. A reader returns what of its family firmware does not read, in words."""


def least_score(threshold: float, is_raw: bool) -> np.float32:
    """The smallest score that counts, as numpy compares it with float32."""
    return np.float32(logit(threshold) if is_raw else threshold)


def _by_cell(answer: AnswerFormat, output: Places, per_cell: int = 1) -> Places:
    is_rows = is_by_cell(output.shape, answer.size, answer.strides, per_cell)
    return output if is_rows else output.T


def _exponential(values: Float32Array) -> Float32Array:
    powers: Float32Array = np.exp(values)
    return powers


def _tenth(values: Float32Array) -> Float32Array:
    return values * np.float32(0.1)


def _grown(values: Float32Array) -> Float32Array:
    powers: Float32Array = np.exp(np.minimum(values * np.float32(0.2), np.float32(MOST_GROWN)))
    return powers


def _spread(values: Float32Array) -> Float32Array:
    spread: Float32Array = 2 * values - np.float32(0.5)
    return spread


def _squared(values: Float32Array) -> Float32Array:
    squared: Float32Array = (2 * values) ** 2
    return squared


def _then(first: Change, second: Change) -> Change:
    return lambda values: second(first(values))
