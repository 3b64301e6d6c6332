"""Keypoints of one thing per frame, or of a few: MoveNet, heat maps, SimCC, plain coordinates.

"movenet": 17 x (y, x, score), or rows of 17 x (y, x, score), top, left, bottom, right, score; shares of the input
(https://www.kaggle.com/models/google/movenet, model cards). "heat-maps": a map per keypoint, whose largest value marks
it, moved a quarter of a pixel towards the larger neighbour (Xiao et al., arXiv:1804.06208; the code of HRNet,
leoxiaobin/deep-high-resolution-net.pytorch lib/core/inference.py, without DARK). "simcc": two vectors per keypoint,
along x and along y, in fractions of a pixel (Li et al., arXiv:2107.03332; RTMPose). "points": 2, or 3 and more, numbers
per keypoint, x before y, in pixels of the input or, ``normalised``, as shares of it; numbers after the second are left
out, but a third is a confidence where ``keypoint_numbers`` is 3.

A thing found this way has a box around those of its keypoints that reach the threshold; it is no thing where none does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import points_in_pixels, upright_around
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import output_named, several_outputs, size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import are_logits, sigmoid
from multigraft.answers.decoding.skeleton import COCO_KEYPOINTS, edges_of, pairs_of
from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.family import Decoder, Evidence, Family, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

_MOVENET_SIZES = ((192, 192), (256, 256))
"""Lightning and Thunder."""
_MOVENET_ROW = 3 * COCO_KEYPOINTS + 5
_NUMBERS = {
    10: 2,
    15: 3,
    63: 3,
    99: 3,
    117: 3,
    136: 2,
    195: 5,
    196: 2,
    212: 2,
    213: 3,
    1404: 3,
    1434: 3,
}
"""Numbers per keypoint of outputs known by their size: MediaPipe's hands, faces, bodies, irises; faces of 5, 68,
98 and 106 points."""


def _recognise_movenet(evidence: Evidence) -> AnswerFormat | str:
    if clause := several_outputs(evidence):
        return clause
    shape = _squeezed(evidence.shapes[0])
    if shape not in ((COCO_KEYPOINTS, 3),) and not (len(shape) == 2 and shape[1] == _MOVENET_ROW):
        return f"output 0 is {size_text(evidence.shapes[0])} in place of 17 x 3 or n x {_MOVENET_ROW}"
    if not evidence.named and shape[0] == COCO_KEYPOINTS and evidence.size not in _MOVENET_SIZES:
        return "its input has not the size of a MoveNet"
    return AnswerFormat(
        "movenet",
        evidence.shapes,
        evidence.size,
        {"keypoints": 0},
        keypoints=COCO_KEYPOINTS,
        normalised=True,
        edges=edges_of(COCO_KEYPOINTS),
    )


def _squeezed(shape: Shape) -> Shape:
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _movenet(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_movenet)
    check_labels(labels, 1, "output 0")
    is_single = _squeezed(answer.shapes[0]) == (COCO_KEYPOINTS, 3)
    edges = pairs_of(answer.edges)

    def one(outputs: Sequence[Float32Array]) -> Detections:
        points = outputs[0].reshape(1, COCO_KEYPOINTS, 3)[:, :, [1, 0, 2]]
        return _around(points_in_pixels(points, answer), answer, labels)

    @np.errstate(all="ignore")
    def several(outputs: Sequence[Float32Array]) -> Detections:
        rows = outputs[0].reshape(-1, _MOVENET_ROW)
        rows = rows[rows[:, -1] >= answer.score_threshold]
        points = points_in_pixels(rows[:, :-5].reshape(-1, COCO_KEYPOINTS, 3)[:, :, [1, 0, 2]], answer)
        corners = points_in_pixels(rows[:, [-4, -5, -2, -3]].reshape(-1, 2, 2), answer).reshape(-1, 4)
        classes = np.zeros(len(rows), np.int32)
        return Detections(corners, rows[:, -1].copy(), classes, labels, points, edges).best(answer.most)

    return one if is_single else several


def _around(points: Float32Array, answer: AnswerFormat, labels: tuple[str, ...]) -> Detections:
    """One thing from (1, k, 3) keypoints: a box around those that are sure, their mean confidence as its score."""
    if not points.flags.writeable or points.base is not None:
        points = points.copy()
    points[~np.isfinite(points).all(axis=2)] = 0
    points[:, :, 2] = np.clip(points[:, :, 2], 0, 1)
    sure = points[0, :, 2] >= max(answer.score_threshold, 1e-9)
    if not sure.any():
        return no_detections(labels)
    box = upright_around(points[:, sure, :2])
    score = points[:, sure, 2].mean(axis=1, dtype=np.float32)
    edges = pairs_of(answer.edges)
    return Detections(box, score, np.zeros(1, np.int32), labels, points, edges).sound()


def _recognise_heat_maps(evidence: Evidence) -> AnswerFormat | str:
    shape = evidence.shapes[0]
    if len(shape) != 3 or min(shape) < 1:
        return f"output 0 is {size_text(shape)} and has to be keypoints x rows x columns"
    ratios = {evidence.size[0] / shape[1], evidence.size[1] / shape[2]}
    if not evidence.named and (len(evidence.shapes) > 1 or not (len(ratios) == 1 and ratios <= {2.0, 4.0, 8.0})):
        return "it is no single output of maps at a half, a quarter or an eighth of the size of the input"
    return AnswerFormat(
        "heat-maps",
        evidence.shapes,
        evidence.size,
        {"maps": 0},
        keypoints=shape[0],
        edges=edges_of(shape[0]),
    )


def _heat_maps(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("maps", 0)
    shape = answer.shapes[number]
    if len(shape) != 3:
        raise ConfigurationError(f"output {number} is {size_text(shape)} and no maps", "name another output")
    check_labels(labels, 1, f"output {number}")
    count, rows, columns = shape
    numbers = np.arange(count)
    scale = np.array([answer.size[1] / columns, answer.size[0] / rows], np.float32)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        maps = np.nan_to_num(outputs[number], nan=_NOTHING, posinf=_NOTHING, neginf=_NOTHING)
        best = maps.reshape(count, -1).argmax(axis=1)
        y, x = np.divmod(best, columns)
        confidence = maps[numbers, y, x]
        if answer.scores == "logits":
            confidence = sigmoid(confidence)
        right, left = maps[numbers, y, np.minimum(x + 1, columns - 1)], maps[numbers, y, np.maximum(x - 1, 0)]
        below, above = maps[numbers, np.minimum(y + 1, rows - 1), x], maps[numbers, np.maximum(y - 1, 0), x]
        inner = (x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1)
        across = np.where(inner, np.sign(right - left), 0) * np.float32(0.25)
        down = np.where(inner, np.sign(below - above), 0) * np.float32(0.25)
        points = np.stack([(x + across) * scale[0], (y + down) * scale[1], confidence], axis=1)
        return _around(points[None].astype(np.float32), answer, labels)

    return decode


_NOTHING = -1e9


def _recognise_simcc(evidence: Evidence) -> AnswerFormat | str:
    if len(evidence.shapes) != 2:
        return f"there are {len(evidence.shapes)} outputs in place of two"
    shapes, size = evidence.shapes, evidence.size
    if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        return f"outputs are {size_text(shapes[0])} and {size_text(shapes[1])}, in place of two keypoints x places"
    at_x = output_named(evidence, r"(simcc_?x|[_.]x$)")
    orders = ((at_x, 1 - at_x),) if at_x is not None else ((0, 1), (1, 0))
    for x, y in orders:
        finer = shapes[x][1] / size[1]
        if finer >= 1 and finer == shapes[y][1] / size[0] and (evidence.named or finer in (1, 2, 3, 4)):
            roles, count = {"x": x, "y": y}, shapes[0][0]
            return AnswerFormat("simcc", shapes, size, roles, keypoints=count, edges=edges_of(count))
    return f"places are {shapes[0][1]} and {shapes[1][1]}, which is no multiple of the size of the input"


def _simcc(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    at_x, at_y = answer.roles["x"], answer.roles["y"]
    if any(len(answer.shapes[i]) != 2 for i in (at_x, at_y)) or answer.shapes[at_x][0] != answer.shapes[at_y][0]:
        raise ConfigurationError("x and y are not two outputs of as many keypoints", "name others in the roles")
    check_labels(labels, 1, f"output {at_x}")
    scale = (answer.size[1] / answer.shapes[at_x][1], answer.size[0] / answer.shapes[at_y][1])

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        places, heights = [], []
        for number, step in zip((at_x, at_y), scale, strict=True):
            values = np.nan_to_num(outputs[number], nan=_NOTHING, posinf=_NOTHING, neginf=_NOTHING)
            places.append(values.argmax(axis=1) * step)
            heights.append(values.max(axis=1))
        confidence = np.minimum(*heights)
        if answer.scores == "logits":
            confidence = sigmoid(confidence)
        return _around(np.stack([*places, confidence], axis=1)[None].astype(np.float32), answer, labels)

    return decode


def _recognise_points(evidence: Evidence) -> AnswerFormat | str:
    if not evidence.named:
        return "numbers could be anything, so the user says that they are points"
    total = math.prod(evidence.shapes[0])
    each = _numbers_of(evidence.shapes[0])
    if total % each or total < 2:
        return f"output 0 has {total} numbers, which are not {each} per keypoint"
    return AnswerFormat(
        "points", evidence.shapes, evidence.size, {"points": 0}, keypoints=total // each, keypoint_numbers=2
    )


def _numbers_of(shape: Shape) -> int:
    """How many numbers each keypoint has: by the last of several axes, else by what is widely known, else two."""
    long = [n for n in shape if n > 1]
    if len(long) > 1 and shape[-1] in (2, 3, 4, 5):
        return shape[-1]
    return _NUMBERS.get(math.prod(shape), 2)


def _points(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("points", 0)
    check_labels(labels, 1, f"output {number}")
    total = math.prod(answer.shapes[number])
    each, rest = divmod(total, answer.keypoints) if answer.keypoints > 0 else (0, 1)
    if rest or each < answer.keypoint_numbers or answer.keypoint_numbers not in (2, 3):
        raise ConfigurationError(
            f"output {number} has {total} numbers, too few or too many for {answer.keypoints} keypoints of "
            f"{answer.keypoint_numbers} numbers",
            "correct keypoints or keypoint_numbers",
        )

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        numbers = outputs[number].reshape(1, answer.keypoints, each)
        points = np.ones((1, answer.keypoints, 3), np.float32)
        points[:, :, : answer.keypoint_numbers] = numbers[:, :, : answer.keypoint_numbers]
        if answer.keypoint_numbers == 3 and are_logits(points[:, :, 2], answer.scores):
            points[:, :, 2] = sigmoid(points[:, :, 2])
        return _around(points_in_pixels(points, answer), answer, labels)

    return decode


MOVENET = Family(
    "movenet",
    "MoveNet: 17 keypoints of one person, or of six with boxes",
    ("detection", "landmarks"),
    _recognise_movenet,
    _movenet,
)
HEAT_MAPS = Family(
    "heat-maps",
    "a map per keypoint (simple baselines, HRNet): the largest value marks it",
    ("landmarks",),
    _recognise_heat_maps,
    _heat_maps,
)
SIMCC = Family(
    "simcc",
    "two vectors per keypoint, along x and along y (SimCC, RTMPose)",
    ("detection", "landmarks"),
    _recognise_simcc,
    _simcc,
)
POINTS = Family(
    "points",
    "coordinates of keypoints as they are, in pixels of the input or as shares of it",
    ("landmarks", "regression"),
    _recognise_points,
    _points,
)
