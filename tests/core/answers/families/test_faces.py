"""Faces: heads of YuNet, SCRFD, RetinaFace and MediaPipe written by hand come back as boxes with points."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.detections import Detections
from multigraft.answers.families.faces import RETINAFACE, SCRFD, YUNET
from multigraft.answers.families.mediapipe import blended
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

STRIDES = (8, 16, 32)
sizes = st.sampled_from([(160, 160), (96, 224), (320, 256)])
seeds = st.integers(0, 2**31)


def format_of(outputs: list[Float32Array], size: tuple[int, int], family: str) -> AnswerFormat:
    """Recognised without being named."""
    names = tuple(str(i) for i in range(len(outputs)))
    answer = recognised(Evidence(tuple(o.shape for o in outputs), names, size, "detection"))
    assert answer is not None and answer.family == family
    return answer


def faces(random: np.random.Generator, size: tuple[int, int], count: int) -> tuple[Float32Array, Float32Array]:
    """Boxes side by side, and five points of each."""
    left = 2 + np.arange(count) * 30
    top = random.uniform(1, size[0] - 40, count)
    boxes = np.stack([left, top, left + random.uniform(12, 25, count), top + random.uniform(12, 35, count)], axis=1)
    points = boxes[:, None, :2] + random.uniform(0, 1, (count, 5, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    return boxes.astype(np.float32), points.astype(np.float32)


def compare(found: object, boxes: Float32Array, points: Float32Array | None, scores: Float32Array) -> None:
    assert isinstance(found, Detections)
    assert len(found) == len(boxes)
    order = np.argsort(found.boxes[:, 0])
    np.testing.assert_allclose(found.boxes[order], boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores[order], scores, atol=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    if points is None:
        assert found.keypoints is None
    else:
        assert found.keypoints is not None
        np.testing.assert_allclose(found.keypoints[order][:, :, :2], points, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 4), seeds)
def test_yunet(size: tuple[int, int], count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes, points = faces(random, size, count)
    cells = [size[0] // s * (size[1] // s) for s in STRIDES]
    outputs = [np.zeros((n, numbers), np.float32) for numbers in (1, 1, 4, 10) for n in cells]
    scores = []
    for box, face in zip(boxes, points, strict=True):
        level = int(random.integers(3))
        stride, columns = STRIDES[level], size[1] // STRIDES[level]
        # Any cell may see it; one that none has seen with yet.
        cell = int(random.choice(np.flatnonzero(outputs[level][:, 0] == 0)))
        corner = np.array([cell % columns, cell // columns])
        one, other = random.uniform(0.8, 1, 2)
        outputs[level][cell], outputs[3 + level][cell] = one, other
        outputs[6 + level][cell, :2] = (box[:2] + box[2:]) / 2 / stride - corner
        outputs[6 + level][cell, 2:] = np.log((box[2:] - box[:2]) / stride)
        outputs[9 + level][cell] = (face / stride - corner).reshape(-1)
        scores.append(np.sqrt(one * other))
    found = decoder_of(format_of(outputs, size, "yunet"), ("face",))(outputs)
    compare(found, boxes, points, np.array(scores, np.float32))


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 4), st.booleans(), st.booleans(), seeds)
def test_scrfd(size: tuple[int, int], count: int, has_points: bool, raw: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes, points = faces(random, size, count)
    anchors = [2 * (size[0] // s) * (size[1] // s) for s in STRIDES]
    outputs = [
        np.zeros((n, numbers), np.float32) for numbers in ((1, 4, 10) if has_points else (1, 4)) for n in anchors
    ]
    scores = random.uniform(0.6, 0.99, count).astype(np.float32)
    for box, face, score in zip(boxes, points, scores, strict=True):
        level = int(random.integers(3))
        stride, columns = STRIDES[level], size[1] // STRIDES[level]
        anchor = int(random.choice(np.flatnonzero(outputs[level][:, 0] == 0)))
        middle = np.array([anchor // 2 % columns, anchor // 2 // columns]) * stride
        outputs[level][anchor] = score
        outputs[3 + level][anchor] = np.concatenate([middle - box[:2], box[2:] - middle]) / stride
        if has_points:
            outputs[6 + level][anchor] = ((face - middle) / stride).reshape(-1)
    if raw:
        for level in range(3):
            likely = np.clip(outputs[level], 1e-4, 1)
            outputs[level] = np.log(likely / (1 - likely))
    found = decoder_of(format_of(outputs, size, "scrfd"), ())(outputs)
    compare(found, boxes, points if has_points else None, scores)


@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 4), st.booleans(), seeds)
def test_retinaface(size: tuple[int, int], count: int, raw: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes, points = faces(random, size, count)
    priors = []
    for stride, pair in zip(STRIDES, ((16, 32), (64, 128), (256, 512)), strict=True):
        for row in range(size[0] // stride):
            for column in range(size[1] // stride):
                priors += [((column + 0.5) * stride, (row + 0.5) * stride, side) for side in pair]
    outputs = [np.zeros((len(priors), numbers), np.float32) for numbers in (4, 2, 10)]
    outputs[1][:, 0] = 1
    scores = random.uniform(0.6, 0.99, count).astype(np.float32)
    where = random.choice(len(priors), count, replace=False)
    for number, box, face, score in zip(where, boxes, points, scores, strict=True):
        x, y, side = priors[number]
        outputs[0][number, :2] = ((box[:2] + box[2:]) / 2 - (x, y)) / side / 0.1
        outputs[0][number, 2:] = np.log((box[2:] - box[:2]) / side) / 0.2
        outputs[1][number] = 1 - score, score
        outputs[2][number] = ((face - (x, y)) / side / 0.1).reshape(-1)
    if raw:
        outputs[1] = np.log(np.maximum(outputs[1], 1e-4)) + 3
    compare(decoder_of(format_of(outputs, size, "retinaface"), ())(outputs), boxes, points, scores)


MEDIAPIPE = {
    (128, 128, 896): ((8, 2), (16, 6)),
    (256, 256, 896): ((16, 2), (32, 6)),
    (192, 192, 2304): ((4, 1),),
    (192, 192, 2016): ((8, 2), (16, 6)),
    (256, 256, 2944): ((8, 2), (16, 2), (32, 6)),
    (224, 224, 2254): ((8, 2), (16, 2), (32, 6)),
}


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(MEDIAPIPE)), st.integers(0, 3), st.booleans(), seeds)
def test_mediapipe(kind: tuple[int, int, int], count: int, boxes_first: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    size = kind[:2]
    boxes, points = faces(random, size, count)
    anchors = [
        ((column + 0.5) * stride, (row + 0.5) * stride)
        for stride, each in MEDIAPIPE[kind]
        for row in range(size[0] // stride)
        for column in range(size[1] // stride)
        for _ in range(each)
    ]
    assert len(anchors) == kind[2]
    regressors = np.zeros((kind[2], 14), np.float32)
    raw = np.full((kind[2], 1), -20, np.float32)
    scores = random.uniform(0.65, 0.99, count).astype(np.float32)
    where = random.choice(kind[2], count, replace=False)
    for number, box, face, score in zip(where, boxes, points, scores, strict=True):
        regressors[number, :2] = (box[:2] + box[2:]) / 2 - anchors[number]
        regressors[number, 2:4] = box[2:] - box[:2]
        regressors[number, 4:] = (face - anchors[number]).reshape(-1)
        raw[number] = np.log(score / (1 - score))
    outputs = [regressors, raw] if boxes_first else [raw, regressors]
    compare(decoder_of(format_of(outputs, size, "mediapipe"), ())(outputs), boxes, points, scores)


def test_overlapping_boxes_are_averaged_by_their_scores() -> None:
    boxes: Float32Array = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    points = boxes[:, None, :2].repeat(2, axis=1)
    points = np.concatenate([points, np.ones((3, 2, 1), np.float32)], axis=2)
    found = Detections(boxes, np.array([0.5, 0.75, 0.6], np.float32), np.zeros(3, np.int32), (), points)
    answer = blended(found, 0.3, 10)
    np.testing.assert_allclose(answer.boxes, [[1.2, 0.0, 11.2, 10.0], [50.0, 50.0, 60.0, 60.0]], atol=1e-5)
    np.testing.assert_allclose(answer.scores, [0.75, 0.6])
    assert answer.keypoints is not None
    np.testing.assert_allclose(answer.keypoints[0], [[1.2, 0.0, 1.0], [1.2, 0.0, 1.0]], atol=1e-5)
    assert len(blended(found, 0.3, 1)) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("family", "shapes", "size"),
    [
        ("yunet", [(n, k) for k in (1, 1, 4, 10) for n in (400, 100, 25)], (160, 160)),
        ("scrfd", [(n, k) for k in (1, 4, 10) for n in (800, 200, 50)], (160, 160)),
        ("retinaface", [(1050, 4), (1050, 2), (1050, 10)], (160, 160)),
        ("mediapipe", [(896, 16), (896, 1)], (128, 128)),
    ],
)
def test_what_is_no_number_is_no_face(
    family: str, shapes: list[tuple[int, int]], size: tuple[int, int], value: float
) -> None:
    outputs = [np.full(shape, value, np.float32) for shape in shapes]
    found = decoder_of(format_of(outputs, size, family), ())(outputs)
    assert isinstance(found, Detections) and len(found) == 0


def test_what_does_not_fit_is_named() -> None:
    shapes = tuple((n, k) for k in (1, 1, 4, 10) for n in (400, 100, 25))
    evidence = Evidence(shapes, ("",) * 12, (160, 160), "detection")
    other = dataclasses.replace(evidence, size=(320, 320))
    for family, said in (
        (YUNET, "0 outputs are 1600 x 1"),
        (SCRFD, "12 outputs are not"),
        (RETINAFACE, "no output is 4200 x 4"),
    ):
        clause = family.recognise(other)
        assert isinstance(clause, str) and said in clause
    with pytest.raises(ConfigurationError, match=r"no yunet: 0 outputs are 1600 x 1 in place of 2"):
        recognised(other, "yunet")
    with pytest.raises(ConfigurationError, match=r"no set of anchors has 896 for an input of 320 x 320"):
        recognised(Evidence(((896, 16), (896, 1)), ("a", "b"), (320, 320), "detection"), "mediapipe")
    answer = recognised(evidence)
    assert answer is not None
    with pytest.raises(ConfigurationError, match=r"2 labels, and each output of scores holds 1 classes"):
        decoder_of(answer, ("face", "other"))
