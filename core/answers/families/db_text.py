"""DB: lines of text as turned rectangles, from a map of how likely each pixel lies in the core of a line.

Pixels above 0.3 (``core_threshold``), a region at a time; the smallest rectangle around it; its score is the mean of
the map in it; the core is then made as large as the line: each side moves out by area * 1.6 (``unclip_ratio``) /
perimeter. Sources: Liao et al., "Real-time scene text detection with differentiable binarization", arXiv:1911.08947;
thresholds as RapidOCR has them (RapidAI/RapidOCR, python/rapidocr_onnxruntime/config.yaml); PaddlePaddle/PaddleOCR
ppocr/postprocess/db_postprocess.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multigraft.answers.answer_format import CORE_THRESHOLD, MIN_SIZE, UNCLIP_RATIO, AnswerFormat
from multigraft.answers.decoding.boxes import upright_around
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.selection import are_logits, sigmoid
from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.connected_regions import Region, connected_regions
from multigraft.answers.geometry.polygons import smallest_rectangle
from multigraft.tensors.arrays import Float32Array, Float64Array

SCORE_THRESHOLD = 0.5
_REGIONS = 1000
"""Regions looked at, the largest ones."""
_THICKER = 2.0
"""Pixels of the map by which a line is at least thicker than the thinnest core."""
_WORK = 16
"""Pixels looked at for scores, in maps: regions around regions cannot stall a frame."""


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    shape = evidence.shapes[0]
    rows, columns = shape[-2:] if len(shape) > 1 else (0, 0)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] > 3) or min(rows, columns) < 2:
        return f"output 0 is {size_text(shape)} and has to be one map, 1 x rows x columns"
    if not evidence.named and (len(shape) == 2 or len(evidence.shapes) > 1 or shape[0] > 1):
        return "there is more than one map"
    if not evidence.named and (rows, columns) != evidence.size:
        return f"output 0 is {size_text(shape)}, and the input has {size_text(evidence.size)} pixels"
    return AnswerFormat("db-text", evidence.shapes, evidence.size, {"map": 0}, score_threshold=SCORE_THRESHOLD)


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    number = answer.roles.get("map", 0)
    shape = answer.shapes[number]
    check_labels(labels, 1, f"output {number}")
    scale = np.array([answer.size[1] / shape[-1], answer.size[0] / shape[-2]])

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        # The first of three maps is the one of the cores; the others are of training.
        likely = outputs[number].reshape(-1, *shape[-2:])[0]
        likely = sigmoid(likely) if are_logits(likely, answer.scores) else likely
        corners, scores = text_rectangles(
            likely, answer.score_threshold, answer.core_threshold, answer.unclip_ratio, answer.min_size
        )
        if not len(scores):
            return no_detections(labels)
        placed = (corners * scale).astype(np.float32)
        classes = np.zeros(len(scores), np.int32)
        return Detections(upright_around(placed), scores, classes, labels, corners=placed).best(answer.most)

    return decode


def text_rectangles(
    likely: Float32Array,
    least: float,
    core_threshold: float = CORE_THRESHOLD,
    unclip_ratio: float = UNCLIP_RATIO,
    min_size: float = MIN_SIZE,
) -> tuple[Float64Array, Float32Array]:
    """Lines of text on a map.

    Args:
        likely: (rows, columns), probabilities; NaN is nothing.
        least: Score from which a rectangle counts.
        core_threshold: Probability above which a pixel belongs to the core of a line.
        unclip_ratio: A core's sides move out by this times its area over its perimeter.
        min_size: Pixels that the shorter side of a core has at least.

    Returns:
        (n, 4, 2) corners in pixels of the map, clockwise from the one nearest to its upper left, and (n,) scores.
    """
    core = likely > np.float32(core_threshold)
    rows, columns = core.shape
    # Grown by a pixel to the right and below: what a pixel parts is one line, and the pixels' numbers are then the
    # edges of the core.
    grown = np.zeros((rows + 1, columns + 1), np.bool_)
    grown[:-1, :-1] = core
    grown[1:] |= grown[:-1]
    grown[:, 1:] |= grown[:, :-1]
    found: list[Float64Array] = []
    scores: list[float] = []
    budget = _WORK * rows * columns
    for region in connected_regions(grown, _REGIONS):
        if len(region.rows) < 2 or (height := region.rows[-1] - region.rows[0]) < 1:
            continue
        budget -= (int(height) + 1) * int(region.last.max() - region.first.min() + 1)
        if budget < 0:
            break
        corners, sides = smallest_rectangle(_outline(region))
        if sides.min() < min_size:
            continue
        score = _mean_within(likely, corners)
        if not score >= least:
            continue
        distance = sides[0] * sides[1] * unclip_ratio / (2 * (sides[0] + sides[1]))
        if sides.min() + 2 * distance < min_size + _THICKER:
            continue
        found.append(_from_upper_left(_moved_out(corners, sides, distance)))
        scores.append(score)
    rectangles: Float64Array = np.array(found, np.float64).reshape(-1, 4, 2)
    return rectangles, np.array(scores, np.float32)


def _outline(region: Region) -> Float64Array:
    first = np.stack([region.first, region.rows], axis=1)
    last = np.stack([region.last, region.rows], axis=1)
    outline: Float64Array = np.concatenate([first, last]).astype(np.float64)
    return outline


def _mean_within(likely: Float32Array, corners: Float64Array) -> float:
    """Mean of the map over a rectangle, its border included; NaN counts as 0."""
    limits = np.array([likely.shape[1] - 1, likely.shape[0] - 1])
    low = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(np.intp)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(np.intp)
    crop = likely[low[1] : high[1] + 1, low[0] : high[0] + 1]
    x = np.arange(low[0], high[0] + 1, dtype=np.float32)
    y = np.arange(low[1], high[1] + 1, dtype=np.float32)[:, None]
    inside = np.ones(crop.shape, np.bool_)
    for axis in (corners[1] - corners[0], corners[3] - corners[0]):
        length = np.hypot(*axis)
        along = (x - corners[0, 0]) * (axis[0] / length) + (y - corners[0, 1]) * (axis[1] / length)
        inside &= (along >= -_BORDER) & (along <= length + _BORDER)
    values = crop[inside]
    return float(np.nan_to_num(values, nan=0, posinf=0, neginf=0).mean(dtype=np.float64)) if values.size else 0.0


_BORDER = 0.5
"""Pixels: those that the border of a rectangle goes through belong to it."""


def _moved_out(corners: Float64Array, sides: npt.NDArray[np.float64], distance: float) -> Float64Array:
    """The rectangle with each side moved out."""
    along, across = (corners[1] - corners[0]) / sides[0], (corners[3] - corners[0]) / sides[1]
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    moved: Float64Array = corners + distance * (signs[:, :1] * along + signs[:, 1:] * across)
    return moved


def _from_upper_left(corners: Float64Array) -> Float64Array:
    """The same, clockwise, from the upper one of its two leftmost corners."""
    edge, next_edge = corners[1] - corners[0], corners[2] - corners[1]
    if edge[0] * next_edge[1] - edge[1] * next_edge[0] < 0:
        corners = corners[::-1]
    leftmost = np.argsort(corners[:, 0], kind="stable")[:2]
    start = int(leftmost[corners[leftmost, 1].argmin()])
    started: Float64Array = np.roll(corners, -start, axis=0)
    return started


DB_TEXT = Family(
    "db-text",
    "lines of text as turned rectangles: one map of probabilities (DB, PaddleOCR's detectors)",
    ("detection",),
    _recognise,
    _decoder,
)
