"""How often a grafted or quantised network answers as the original does, with a bound at a stated confidence.

With numpy alone, so that the device measures what the workstation does.

Each frame gets a score of 0..1 by the kind of the task; the agreement is the mean over frames. Frames are the
independent unit, so the bound counts frames, never pixels or boxes:

- scores that are 0 or 1: the exact binomial bound of Clopper and Pearson (Biometrika 26, 1934);
- scores between: for any independent scores in 0..1 a bound by betting, see :mod:`multigraft.agreement.betting`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement import boxes
from multigraft.agreement.betting import lower_bound_of_mean
from multigraft.agreement.binomial import lower_bound
from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoded
from multigraft.answers.family import Decoded
from multigraft.answers.kind import Kind
from multigraft.answers.matching import IOU, rule_of
from multigraft.answers.own_format import OwnFormat
from multigraft.errors import InputError, UsageError
from multigraft.tensors.arrays import Array, Float64Array

RANGE_FRACTION = 0.05
"""Default tolerance of regression and landmarks: of the original's range (1st to 99th percentile) per output."""

RELATIVE_ERROR = 0.1
"""Default tolerance of other kinds: norm of the difference over the norm of the original output, per frame."""

Outputs = Sequence[Array]
Scores = Float64Array


@dataclass(frozen=True)
class Agreement:
    """Agreement of new with original outputs.

    Attributes:
        value: Mean score over the frames, 0..1.
        lower_bound: The expected score is at least this with probability ``confidence``.
        confidence: Probability that the one-sided bound holds.
        frames: Number of frames it was measured on.
        kind: What the outputs mean.
        tolerance: What still counts as equal, in the unit that ``rule`` names; None where answers are equal or not.
        rule: When a frame counts as agreed.
        is_graded: Frames can agree in part, which has a bound of its own.
    """

    value: float
    lower_bound: float
    confidence: float
    frames: int
    kind: Kind
    tolerance: float | None
    rule: str
    is_graded: bool = False

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def agreement(
    kind: Kind,
    original: Outputs,
    new: Outputs,
    *,
    confidence: float = 0.95,
    tolerance: float | None = None,
    answer: AnswerFormat | OwnFormat | None = None,
    labels: tuple[str, ...] = (),
    right: Sequence[Decoded] | None = None,
) -> Agreement:
    """Compare outputs on the same frames.

    Args:
        kind: What the outputs mean.
        original: The original network's outputs in its order, each with the frames as first axis.
        new: The same of the network that is to be judged.
        confidence: Probability that the bound holds, between 0 and 1.
        tolerance: regression, landmarks: largest difference, in the unit of the output; detection: smallest IoU of
            matched boxes; other: largest relative error. None for the default of the kind.
        answer: How the outputs are decoded; answers are then compared as people see them.
        labels: Of the task, for decoders that need them.
        right: What ``original`` says by ``answer``, from :func:`kept_answers`, where it is compared more than once.

    Raises:
        UsageError: The confidence is no probability, or there are no frames.
        InputError: Shapes differ, or an original output is not finite.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1", "give for instance 0.95")
    scores, tolerance, rule, is_binary = frame_scores(kind, original, new, tolerance, answer, labels, right)
    if is_binary:
        bound = lower_bound(round(float(scores.sum())), len(scores), confidence)
    else:
        bound = lower_bound_of_mean(scores, confidence)
    return Agreement(
        value=float(scores.mean()),
        lower_bound=bound,
        confidence=confidence,
        frames=len(scores),
        kind=kind,
        tolerance=tolerance,
        rule=rule,
        is_graded=not is_binary,
    )


def frame_scores(
    kind: Kind,
    original: Outputs,
    new: Outputs,
    tolerance: float | None = None,
    answer: AnswerFormat | OwnFormat | None = None,
    labels: tuple[str, ...] = (),
    right: Sequence[Decoded] | None = None,
) -> tuple[Scores, float | None, str, bool]:
    """Score of each frame (0..1), the tolerance used, the rule in words, and whether all scores are 0 or 1 by rule."""
    _check(original, new)
    usable = np.all([np.isfinite(o).reshape(len(o), -1).all(axis=1) for o in new], axis=0)
    new = [np.where(np.isfinite(o), o, 0) if o.dtype.kind == "f" else o for o in new]
    pairs = list(zip(original, new, strict=True))
    if answer is not None:
        originals = decoded(answer, labels, original) if right is None else right
        as_seen = _decoded_scores(answer, labels, originals, new, tolerance)
        if as_seen is not None:
            scores, used, rule, is_binary = as_seen
            return scores * usable, used, rule, is_binary
    if kind == "classification":
        scores = np.all([_same_class(a, b) for a, b in pairs], axis=0)
        return scores * usable, None, "same class with the highest score", True
    if kind == "segmentation":
        scores = np.mean([_same_pixels(a, b) for a, b in pairs], axis=0)
        return scores * usable, None, "share of pixels with the same class, per frame", False
    if kind == "detection":
        if (layout := boxes.Layout.find(original)) is not None:
            iou = IOU if tolerance is None else tolerance
            rule = f"share of boxes matched with the same class and IoU of at least {iou:g}, per frame"
            scores = boxes.Detections.read(original, layout).f1(boxes.Detections.read(new, layout), iou)
            return scores * usable, iou, rule, False
        tolerance = None
    if kind in ("regression", "landmarks"):
        within = [_within(a, b, tolerance) for a, b in pairs]
        limit = f"{tolerance:g}" if tolerance is not None else f"{RANGE_FRACTION:g} of the output's range"
        used = RANGE_FRACTION if tolerance is None else tolerance
        if kind == "regression":
            scores = np.all([w.all(axis=1) for w in within], axis=0)
            return scores * usable, used, f"every value within {limit}", True
        scores = np.concatenate(within, axis=1).mean(axis=1)
        return scores * usable, used, f"share of coordinates within {limit}, per frame", False
    used = RELATIVE_ERROR if tolerance is None else tolerance
    scores = np.all([_relative_error(a, b) <= used for a, b in pairs], axis=0)
    return scores * usable, used, f"relative error of every output at most {used:g}", True


def kept_answers(
    answer: AnswerFormat | OwnFormat | None, labels: tuple[str, ...], original: Outputs
) -> tuple[Decoded, ...] | None:
    """What outputs say on every frame, for :func:`agreement` to compare with time and again.

    None where nothing decodes them, or where answers are maps or masks: those of all frames would fill the memory.
    """
    if answer is None:
        return None
    kept = []
    for one in decoded(answer, labels, original):
        if isinstance(one, ClassMap | DenseMap) or (isinstance(one, Detections) and one.masks is not None):
            return None
        kept.append(one)
    return tuple(kept)


def _decoded_scores(
    answer: AnswerFormat | OwnFormat,
    labels: tuple[str, ...],
    originals: Iterable[Decoded],
    new: Outputs,
    tolerance: float | None,
) -> tuple[Scores, float, str, bool] | None:
    """As :func:`frame_scores`; None where there is no rule for such answers."""
    scores, rule, used = [], None, 0.0
    for right, judged in zip(originals, decoded(answer, labels, new), strict=True):
        if rule is None:
            rule = rule_of(right)
            if rule is None:
                return None
            used = rule.tolerance if tolerance is None else tolerance
        scores.append(rule.score(right, judged, used))
    assert rule is not None
    return np.array(scores, np.float64), used, rule.words.format(used), not rule.is_graded


def _check(original: Outputs, new: Outputs) -> None:
    shapes = [o.shape for o in original], [o.shape for o in new]
    if shapes[0] != shapes[1]:
        raise InputError(f"outputs of shapes {shapes[1]} cannot be compared with {shapes[0]}", "compare the same task")
    if not original or {len(o) for o in original} != {len(original[0])} or not len(original[0]):
        raise UsageError("agreement needs outputs of at least one frame", "give frames")
    if not all(np.isfinite(o).all() for o in original):
        raise InputError("the original network gives NaN or infinity", "check the network and its preprocessing")


def score_limit(original: Array) -> float:
    """Where yes begins for a single score: 0.5 for probabilities, 0 for logits."""
    return 0.5 if original.min() >= 0 and original.max() <= 1 else 0.0


def _same_class(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    same: npt.NDArray[np.bool_]
    if a.dtype.kind != "f":
        same = (a == b).all(axis=1)
    elif a.shape[1] == 1:
        limit = score_limit(a)
        same = ((a > limit) == (b > limit))[:, 0]
    else:
        same = a.argmax(axis=1) == b.argmax(axis=1)
    return same


def _same_pixels(a: Array, b: Array) -> Scores:
    if a.dtype.kind != "f":
        same = a == b
    elif a.ndim == 4 and min(a.shape[1], a.shape[3]) > 1:
        axis = 1 if a.shape[1] <= a.shape[3] else 3
        same = a.argmax(axis=axis) == b.argmax(axis=axis)
    else:
        limit = score_limit(a)
        same = (a > limit) == (b > limit)
    scores: Scores = same.reshape(len(a), -1).mean(axis=1)
    return scores


def _within(a: Array, b: Array, tolerance: float | None) -> npt.NDArray[np.bool_]:
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    if tolerance is None:
        low, high = np.percentile(a, [1, 99])
        tolerance = RANGE_FRACTION * (high - low) + np.finfo(np.float32).eps * float(np.abs(a).max())
    within: npt.NDArray[np.bool_] = np.abs(a - b) <= tolerance
    return within


def _relative_error(a: Array, b: Array) -> Scores:
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    norm = np.linalg.norm(a, axis=1)
    error: Scores = np.linalg.norm(a - b, axis=1) / np.maximum(norm, np.finfo(np.float32).tiny)
    return error
