"""Keypoints written into the heads of MoveNet, heat maps, SimCC, plain numbers come back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.kind import Kind
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

seeds = st.integers(0, 2**31)


def format_of(
    shapes: tuple[Shape, ...], size: tuple[int, int], family: str = "auto", kind: Kind = "landmarks"
) -> AnswerFormat:
    answer = recognised(Evidence(shapes, ("simcc_x", "simcc_y")[: len(shapes)], size, kind), family)
    assert answer is not None
    assert family in ("auto", answer.family)
    return answer


def one(found: object) -> Float32Array:
    """The keypoints of the only thing found."""
    assert isinstance(found, Detections) and len(found) == 1 and found.keypoints is not None
    keypoints: Float32Array = found.keypoints[0]
    return keypoints


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(17, 3), (1, 17, 3)]), st.sampled_from([192, 256]), seeds)
def test_movenet(shape: Shape, side: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(0, side, (17, 2)).astype(np.float32)
    scores = random.uniform(0, 1, 17).astype(np.float32)
    scores[3] = 0.9
    output = np.stack([points[:, 1] / side, points[:, 0] / side, scores], axis=1).reshape(shape)
    answer = format_of((shape,), (side, side))
    assert answer.family == "movenet"
    found = decoder_of(answer, ("person",))([output])
    keypoints = one(found)
    np.testing.assert_allclose(keypoints[:, :2], points, atol=1e-3)
    np.testing.assert_allclose(keypoints[:, 2], scores, atol=1e-6)
    assert isinstance(found, Detections)
    sure = scores >= answer.score_threshold
    expected = [*points[sure].min(axis=0), *points[sure].max(axis=0)]
    np.testing.assert_allclose(found.boxes[0], expected, atol=1e-3)
    assert found.scores[0] == pytest.approx(scores[sure].mean(), abs=1e-5)
    assert (5, 7) in found.edges
    output[..., 2] = 0.1
    assert len(decoder_of(answer, ())([output]).to_json()["detections"]) == 0


def test_movenet_of_several_people() -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 1, (6, 56)).astype(np.float32)
    rows[:, -1] = (0.9, 0.1, 0.8, 0.0, np.nan, 0.2)
    found = decoder_of(format_of(((6, 56),), (256, 128), kind="detection"), ())([rows])
    assert isinstance(found, Detections) and len(found) == 2 and found.keypoints is not None
    for i, row in enumerate((rows[0], rows[2])):
        top, left, bottom, right = row[51:55]
        np.testing.assert_allclose(found.boxes[i], [left * 128, top * 256, right * 128, bottom * 256], atol=1e-3)
        np.testing.assert_allclose(found.keypoints[i, :, 0], row[1:51:3] * 128, atol=1e-3)
        np.testing.assert_allclose(found.keypoints[i, :, 1], row[0:51:3] * 256, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.integers(1, 20), seeds)
def test_heat_maps(stride: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = 24, 16
    size = (rows * stride, columns * stride)
    points = random.uniform(2, 13, (count, 2))
    y, x = np.mgrid[0:rows, 0:columns]
    squared = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    maps = np.exp(-squared / 8).astype(np.float32)
    answer = format_of(((count, rows, columns),), size)
    assert answer.family == "heat-maps"
    found = one(decoder_of(answer, ())([maps]))
    # A quarter towards the larger neighbour leaves a quarter of a pixel at most.
    assert np.abs(found[:, :2] / stride - points).max() <= 0.2501
    np.testing.assert_allclose(found[:, 2], maps.max(axis=(1, 2)), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 3]), st.integers(1, 26), st.booleans(), seeds)
def test_simcc(finer: int, count: int, named: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    size = (64, 48)
    x, y = random.integers(0, size[1] * finer, count), random.integers(0, size[0] * finer, count)
    across, down = np.zeros((count, size[1] * finer)), np.zeros((count, size[0] * finer))
    confidence = random.uniform(0.3, 1, count)
    across[np.arange(count), x] = confidence
    down[np.arange(count), y] = 1
    answer = format_of((across.shape, down.shape), size, "simcc" if named else "auto")
    found = one(decoder_of(answer, ())([across.astype(np.float32), down.astype(np.float32)]))
    np.testing.assert_allclose(found, np.stack([x / finer, y / finer, confidence], axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "each", "normalised"),
    [((136,), 2, False), ((1404,), 3, False), ((21, 3), 3, True), ((10, 1, 1), 2, True), ((195,), 5, False)],
)
def test_plain_points(shape: Shape, each: int, normalised: bool) -> None:
    random = np.random.default_rng(0)
    output = random.uniform(0.1, 1, shape).astype(np.float32)
    answer = dataclasses.replace(format_of((shape,), (50, 100), "points"), normalised=normalised)
    found = decoder_of(answer, ())([output])
    rows = output.reshape(-1, each)[:, :2] * ((100, 50) if normalised else (1, 1))
    np.testing.assert_allclose(one(found)[:, :2], rows, atol=1e-4)
    assert (one(found)[:, 2] == 1).all()
    placed = found.placed(Placement.of_regions((100, 200), None, None, (50, 100)))
    np.testing.assert_allclose(one(placed)[:, :2], 2 * rows, atol=1e-3)


def test_a_third_number_is_a_confidence_where_it_is_said() -> None:
    output = np.array([1, 2, 0.9, 3, 4, 0.4], np.float32)
    answer = dataclasses.replace(format_of(((6,),), (9, 9), "points"), keypoints=2, keypoint_numbers=3)
    np.testing.assert_allclose(one(decoder_of(answer, ())([output])), [[1, 2, 0.9], [3, 4, 0.4]], atol=1e-6)
    with pytest.raises(ConfigurationError, match="output 0 has 6 numbers, too few or too many for 4 keypoints"):
        decoder_of(dataclasses.replace(answer, keypoints=4), ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("family", "shapes"),
    [
        ("movenet", ((17, 3),)),
        ("movenet", ((6, 56),)),
        ("heat-maps", ((17, 48, 48),)),
        ("simcc", ((17, 192), (17, 192))),
        ("points", ((10,),)),
    ],
)
def test_what_is_no_number_is_no_keypoint(family: str, shapes: tuple[Shape, ...], value: float) -> None:
    answer = format_of(shapes, (192, 192), family)
    found = decoder_of(answer, ())([np.full(shape, value, np.float32) for shape in shapes])
    assert isinstance(found, Detections) and np.isfinite(found.boxes).all()
    if family != "points":
        assert len(found) == 0


def test_what_does_not_fit_is_named_and_what_may_be_anything_is_left_alone() -> None:
    for family, shape, said in (
        ("movenet", (17, 4), "output 0 is 17 x 4 in place of 17 x 3"),
        ("heat-maps", (17, 4), "output 0 is 17 x 4 and has to be keypoints x rows x columns"),
        ("points", (7,), "output 0 has 7 numbers, which are not 2 per keypoint"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            format_of((shape,), (192, 192), family)
    others: tuple[Shape, ...] = ((10,), (17, 3), (3, 100, 100))
    for other in others:
        assert recognised(Evidence((other,), ("out",), (224, 224), "landmarks")) is None
    assert recognised(Evidence(((64, 28, 28),), ("out",), (224, 224), "regression")) is None
