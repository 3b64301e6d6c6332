"""Where the outputs of a detector hold its candidates, family by family: what ``kernels/c/boxes.h`` reads.

A family is read as its decoder in :mod:`multigraft.answers.families` reads it, but with *places* (numbers that say
which tensor and which element) in place of real numbers. So whatever joins, transposes or parts the outputs, what comes
out says where each number of each candidate lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.cells import is_by_cell
from multigraft.answers.decoding.levels import cells_of, grid_of, points_of
from multigraft.answers.decoding.selection import logit, sigmoid
from multigraft.tensors.arrays import Float32Array

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
        suppresses: Of boxes that show the same thing, the best is left.
        shares: Coordinates are shares of the input.
        by_share: Raw scores are compared with the threshold after their sigmoid, not before.
        object_tells: Whether scores are raw is told by what they are multiplied by alone.
    """

    blocks: tuple[Block, ...]
    form: str
    scores: str
    peaks: bool = False
    suppresses: bool = True
    shares: bool = False
    by_share: bool = False
    object_tells: bool = False


def _yolov8(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
    rows = _by_cell(answer, outputs[0])
    block = Block(rows[:, 4:], rows[:, :2], rows[:, 2:4])
    return Candidates((block,), "centres", "probabilities", shares=answer.normalised)


def _yolov5(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
    rows = _by_cell(answer, outputs[answer.roles["predictions"]], 3)
    block = Block(rows[:, 5:], rows[:, :2], rows[:, 2:4], rows[:, 4])
    return Candidates((block,), "centres", "probabilities", shares=answer.normalised)


def _yolox(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
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


def _anchors_raw(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
    is_squared = answer.family in ("yolov5-raw", "yolov7-raw")
    blocks = []
    for stride, pairs in zip(answer.strides, answer.anchors, strict=True):
        level = outputs[answer.roles[f"level_{stride}"]]
        rows, columns = grid_of(answer.size, stride)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        corners = np.stack([x, y], axis=-1).reshape(-1, 2)
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


def _centernet(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
    heat, sizes = (outputs[answer.roles[role]] for role in ("heat", "sizes"))
    kinds, rows, columns = heat.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    corners = np.stack([x, y], axis=-1).reshape(-1, 2)
    offsets = None
    if "offsets" in answer.roles:
        offsets = outputs[answer.roles["offsets"]].reshape(2, -1).T
    else:
        corners = corners + np.float32(0.5)
    stride = answer.strides[0]
    sides = np.tile(np.array([1, 1, stride, stride], np.float32), (rows * columns, 1))
    block = Block(
        heat.reshape(kinds, -1).T, offsets, sizes.reshape(2, -1).T, None, corners, sides, float(stride)
    )  # fmt: skip
    return Candidates((block,), "points", answer.scores, peaks=True, suppresses=False)


def _plain(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates | str:
    if others := sorted(answer.roles.keys() - {"boxes", "scores", "keypoints"}):
        return f"plain with {others[0]}"
    if "scores" not in answer.roles:
        return "plain with scores beside the boxes"
    boxes, likely = (np.squeeze(outputs[answer.roles[role]]) for role in ("boxes", "scores"))
    boxes = np.atleast_2d(boxes)
    count = boxes.size // boxes.shape[0 if boxes.shape[0] in (4, 5) and boxes.shape[1] not in (4, 5) else 1]
    boxes = boxes if boxes.shape[0] == count else boxes.T
    likely = likely.reshape(count, -1) if likely.ndim == 1 or likely.shape[0] == count else likely.T
    if answer.boxes == "y_first":
        boxes = boxes[:, [1, 0, 3, 2]]
    form = {"y_first": "corners"}.get(answer.boxes, answer.boxes)
    block = Block(likely, boxes[:, :2], boxes[:, 2:4])
    return Candidates((block,), form, answer.scores, False, likely.shape[1] > 1, answer.normalised, by_share=True)


def _ssd_decoded(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates | str:
    boxes, likely = (outputs[answer.roles[role]] for role in ("boxes", "scores"))
    if answer.scores != "probabilities":
        return 'ssd-decoded without scores = "probabilities"'
    block = Block(likely[:, 1:], boxes[:, :2], boxes[:, 2:])
    return Candidates((block,), "corners", "probabilities", shares=answer.normalised)


def _scrfd(answer: AnswerFormat, outputs: Sequence[Places]) -> Candidates:
    blocks = []
    for stride in answer.strides:
        likely, boxes = (outputs[answer.roles[f"{role}_{stride}"]] for role in ("scores", "boxes"))
        each = len(boxes) // cells_of(answer.size, (stride,))
        points = points_of(answer.size, (stride,), 0, each)[0]
        sides = np.full((len(boxes), 4), stride, np.float32)
        blocks.append(Block(likely[:, :1], boxes[:, :2], boxes[:, 2:], None, points, sides))
    return Candidates(tuple(blocks), "distances", answer.scores)


READERS: dict[str, Callable[[AnswerFormat, Sequence[Places]], Candidates | str]] = {
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "yolov5-raw": _anchors_raw,
    "yolov7-raw": _anchors_raw,
    "yolov3-raw": _anchors_raw,
    "yolov4-raw": _anchors_raw,
    "yolox": _yolox,
    "yolox-decoded": _yolox,
    "centernet": _centernet,
    "plain": _plain,
    "ssd-decoded": _ssd_decoded,
    "scrfd": _scrfd,
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


def _spread(values: Float32Array) -> Float32Array:
    spread: Float32Array = 2 * values - np.float32(0.5)
    return spread


def _squared(values: Float32Array) -> Float32Array:
    squared: Float32Array = (2 * values) ** 2
    return squared


def _then(first: Change, second: Change) -> Change:
    return lambda values: second(first(values))
