"""Faces with five points: SCRFD, RetinaFace, YuNet.

"scrfd": for each stride scores, distances from an anchor's centre to the edges of the box, and (or not) to five points,
in strides; 2 anchors per cell with strides 8, 16, 32, or 1 with 8 to 128; anchors lie at the upper left of their cells
(deepinsight/insightface python-package/insightface/model_zoo/retinaface.py). "retinaface": three outputs over all
levels, relative to priors of 16 to 512 pixels, variances 0.1 and 0.2; of two scores the second counts
(biubug6/Pytorch_Retinaface layers/functions/prior_box.py, utils/box_utils.py). "yunet": class, object, box, points of
strides 8, 16, 32; score = square root of class times object, centre = (cell + xy) stride, size = exp(wh) stride,
point = (cell + xy) stride (opencv/opencv modules/objdetect/src/face_detect.cpp, FaceDetectorYN).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres, corners_of_distances
from multigraft.answers.decoding.format_check import check_reading
from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import cells_of, grid_of, points_of
from multigraft.answers.decoding.selection import are_logits, logit, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.anchors import anchors_of, corners_of_deltas, points_of_deltas
from multigraft.tensors.arrays import Float32Array

SCORE_THRESHOLD = 0.5
IOU_THRESHOLD = 0.4
YUNET_SCORE_THRESHOLD = 0.6
YUNET_IOU_THRESHOLD = 0.3
_POINTS = 5
_LEVELS = (((8, 16, 32), 2), ((8, 16, 32), 1), ((8, 16, 32, 64, 128), 1), ((8, 16, 32, 64, 128), 2))
_PRIORS = ((16, 32), (64, 128), (256, 512))
_STRIDES = (8, 16, 32)


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    count = len(evidence.shapes)
    for strides, each in _LEVELS:
        if count not in (2 * len(strides), 3 * len(strides)):
            continue
        roles: dict[str, int] = {}
        for stride in strides:
            anchors = cells_of(evidence.size, (stride,), each)
            for role, numbers in (("scores", 1), ("boxes", 4), ("points", 2 * _POINTS)):
                found = [i for i, shape in enumerate(evidence.shapes) if shape == (anchors, numbers)]
                if len(found) == 1:
                    roles[f"{role}_{stride}"] = found[0]
        if len(roles) == count and len(set(roles.values())) == count:
            keypoints = _POINTS if count == 3 * len(strides) else 0
            return AnswerFormat(
                "scrfd",
                evidence.shapes,
                evidence.size,
                roles,
                score_threshold=SCORE_THRESHOLD,
                iou_threshold=IOU_THRESHOLD,
                strides=strides,
                keypoints=keypoints,
                keypoint_numbers=2,
            )
    return f"{count} outputs are not scores, boxes and points of 3 or 5 strides for an input of this size"


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise, fields=("strides", "roles", "keypoints"))
    roles, strides = answer.roles, answer.strides
    check_labels(labels, 1, "each output of scores")
    anchors = sum(answer.shapes[roles[f"scores_{stride}"]][0] for stride in strides)
    each = anchors // cells_of(answer.size, strides)
    levels = [points_of(answer.size, (stride,), 0, each)[0] for stride in strides]

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        parts = []
        raw = are_logits(np.concatenate([outputs[roles[f"scores_{s}"]][:, 0] for s in strides]), answer.scores)
        least = logit(answer.score_threshold) if raw else answer.score_threshold
        for stride, centres in zip(strides, levels, strict=True):
            values = outputs[roles[f"scores_{stride}"]][:, 0]
            kept = np.flatnonzero(values >= least)
            step, middle = np.float32(stride), centres[kept]
            boxes = corners_of_distances(middle, outputs[roles[f"boxes_{stride}"]][kept] * step)
            points = np.ones((len(kept), answer.keypoints, 3), np.float32)
            if answer.keypoints:
                offsets = outputs[roles[f"points_{stride}"]][kept].reshape(-1, answer.keypoints, 2)
                points[:, :, :2] = middle[:, None] + offsets * step
            parts.append((sigmoid(values[kept]) if raw else values[kept], boxes, points))
        scores, boxes, points = (np.concatenate(some) for some in zip(*parts, strict=True))
        classes = np.zeros(len(scores), np.int32)
        found = Detections(boxes, scores.astype(np.float32), classes, labels, points if answer.keypoints else None)
        return found.suppressed(answer.iou_threshold, answer.most)

    return decode


def _recognise_retinaface(evidence: Evidence) -> AnswerFormat | str:
    priors = cells_of(evidence.size, _STRIDES, 2)
    roles = {}
    for role, numbers in (("boxes", 4), ("scores", 2), ("points", 2 * _POINTS)):
        found = [i for i, shape in enumerate(evidence.shapes) if shape == (priors, numbers)]
        if len(found) != 1:
            return f"no output is {size_text((priors, numbers))}, the {role} for an input of this size"
        roles[role] = found[0]
    return AnswerFormat(
        "retinaface",
        evidence.shapes,
        evidence.size,
        roles,
        score_threshold=SCORE_THRESHOLD,
        iou_threshold=IOU_THRESHOLD,
        keypoints=_POINTS,
        keypoint_numbers=2,
    )


def retinaface_priors(size: Sequence[int]) -> Float32Array:
    """(n, 4) centre x, centre y, width, height of the priors for an input of ``size`` (height, width), pixels."""
    sides = [np.array([(side, side) for side in pair], np.float32) for pair in _PRIORS]
    grids = [grid_of(size, stride) for stride in _STRIDES]
    return anchors_of(grids, [(float(s), float(s)) for s in _STRIDES], sides)


def _retinaface(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_retinaface)
    check_labels(labels, 1, "the output of scores")
    priors = retinaface_priors(answer.size)

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        pair = outputs[answer.roles["scores"]]
        # Of two raw scores a softmax is the logistic function of their difference.
        if answer.scores == "logits" or (not answer.scores and bool((pair < -0.01).any() or (pair > 1.01).any())):
            likely = sigmoid(pair[:, 1] - pair[:, 0])
        else:
            likely = pair[:, 1]
        kept = np.flatnonzero(likely >= answer.score_threshold)
        boxes = corners_of_deltas(outputs[answer.roles["boxes"]][kept], priors[kept])
        points = np.ones((len(kept), _POINTS, 3), np.float32)
        points[:, :, :2] = points_of_deltas(outputs[answer.roles["points"]][kept], priors[kept])
        found = Detections(boxes, likely[kept].astype(np.float32), np.zeros(len(kept), np.int32), labels, points)
        return found.suppressed(answer.iou_threshold, answer.most)

    return decode


def _recognise_yunet(evidence: Evidence) -> AnswerFormat | str:
    if len(evidence.shapes) != 4 * len(_STRIDES):
        return f"there are {len(evidence.shapes)} outputs in place of {4 * len(_STRIDES)}"
    roles: dict[str, int] = {}
    for stride in _STRIDES:
        cells = cells_of(evidence.size, (stride,))
        for names, numbers in ((("class", "object"), 1), (("boxes",), 4), (("points",), 2 * _POINTS)):
            found = [i for i, shape in enumerate(evidence.shapes) if shape == (cells, numbers)]
            if len(found) != len(names):
                return f"{len(found)} outputs are {size_text((cells, numbers))} in place of {len(names)}"
            # Which of the two scores is which does not matter: they are multiplied.
            roles.update({f"{name}_{stride}": number for name, number in zip(names, found, strict=True)})
    return AnswerFormat(
        "yunet",
        evidence.shapes,
        evidence.size,
        roles,
        score_threshold=YUNET_SCORE_THRESHOLD,
        iou_threshold=YUNET_IOU_THRESHOLD,
        strides=_STRIDES,
        keypoints=_POINTS,
        keypoint_numbers=2,
    )


def _yunet(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    check_reading(answer, labels, _recognise_yunet)
    check_labels(labels, 1, "each output of scores")
    roles = answer.roles
    corners, strides = points_of(answer.size, _STRIDES, 0)

    def joined(outputs: Sequence[Float32Array], role: str) -> Float32Array:
        return np.concatenate([outputs[roles[f"{role}_{stride}"]] for stride in _STRIDES])

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        one, other = joined(outputs, "class")[:, 0], joined(outputs, "object")[:, 0]
        if are_logits(np.concatenate([one, other]), answer.scores):
            one, other = sigmoid(one), sigmoid(other)
        scores = np.sqrt(np.clip(one, 0, 1) * np.clip(other, 0, 1))
        kept = np.flatnonzero(scores >= answer.score_threshold)
        start, step = corners[kept], strides[kept]
        boxes = joined(outputs, "boxes")[kept]
        boxes[:, :2] = boxes[:, :2] * step + start
        boxes[:, 2:] = np.exp(boxes[:, 2:]) * step
        points = np.ones((len(kept), _POINTS, 3), np.float32)
        offsets = joined(outputs, "points")[kept].reshape(-1, _POINTS, 2)
        points[:, :, :2] = offsets * step[:, None] + start[:, None]
        found = Detections(corners_of_centres(boxes), scores[kept], np.zeros(len(kept), np.int32), labels, points)
        return found.suppressed(answer.iou_threshold, answer.most)

    return decode


SCRFD = Family(
    "scrfd",
    "SCRFD: faces with five points, or without; scores, boxes, points per stride",
    ("detection", "landmarks"),
    _recognise,
    _decoder,
)
RETINAFACE = Family(
    "retinaface",
    "RetinaFace: faces with five points; boxes, two scores, points over all strides",
    ("detection", "landmarks"),
    _recognise_retinaface,
    _retinaface,
)
YUNET = Family(
    "yunet",
    "YuNet: faces with five points; class, object, boxes, points of strides 8, 16, 32",
    ("detection", "landmarks"),
    _recognise_yunet,
    _yunet,
)
