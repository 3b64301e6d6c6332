"""SSD in its forms: boxes written by hand, relative to anchors or not, come back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.detections import Detections
from multigraft.answers.families.ssd import known_anchors
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

seeds = st.integers(0, 2**31)


def some_boxes(random: np.random.Generator, count: int) -> Float32Array:
    left, top = 5 + 40 * np.arange(count), random.uniform(5, 200, count)
    width, height = random.uniform(10, 30, count), random.uniform(10, 60, count)
    boxes: Float32Array = np.stack([left, top, left + width, top + height], axis=1).astype(np.float32)
    return boxes


def compare(found: object, boxes: Float32Array, classes: list[int], atol: float = 2e-3) -> Detections:
    assert isinstance(found, Detections)
    order = np.argsort(found.boxes[:, 0])
    np.testing.assert_allclose(found.boxes[order], boxes, atol=atol)
    assert found.classes[order].tolist() == classes
    return found


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([("ssd", 300, 8732), ("ssd", 320, 3234), ("ssd-tf", 300, 1917), ("ssd-tf", 320, 2034)]),
    st.integers(0, 4),
    st.booleans(),
    seeds,
)
def test_boxes_come_back(kind: tuple[str, int, int], count: int, raw: bool, seed: int) -> None:
    family, side, number = kind
    random = np.random.default_rng(seed)
    is_tensorflow = family == "ssd-tf"
    anchors = known_anchors(is_tensorflow, (side, side), number)
    assert anchors is not None
    boxes = some_boxes(random, count)
    deltas = random.normal(size=(number, 4)).astype(np.float32)
    likely = np.full((number, 4), 0.01, np.float32)
    likely[:, 0] = 0.97
    classes = []
    where = random.choice(number, count, replace=False)
    for i, box in zip(where, boxes, strict=True):
        anchor = anchors[i]
        deltas[i, :2] = ((box[:2] + box[2:]) / 2 - anchor[:2]) / anchor[2:] / 0.1
        deltas[i, 2:] = np.log((box[2:] - box[:2]) / anchor[2:]) / 0.2
        classes.append(int(random.integers(3)))
        likely[i] = 0.05
        likely[i, 1 + classes[-1]] = 0.85
    if raw:
        likely = np.log(likely / (1 - likely) if is_tensorflow else likely) + np.float32(0 if is_tensorflow else 4)
    if is_tensorflow:
        deltas = deltas[:, [1, 0, 3, 2]]
    labels = ("person", "dog", "cat")
    shapes: tuple[Shape, ...] = ((number, 4), (number, 4))
    evidence = Evidence(shapes, ("raw_boxes", "raw_scores"), (side, side), "detection", labels)
    answer = recognised(evidence, family)
    assert answer is not None
    found = compare(decoder_of(answer, labels)([deltas, likely]), boxes, classes)
    np.testing.assert_allclose(found.scores, 0.85, atol=1e-4)
    assert decoder_of(answer, ("background", *labels))([deltas, likely]).to_json() == found.to_json()


def test_known_anchors_are_those_of_their_makers() -> None:
    """First and last ones as torchvision 0.29 and TensorFlow's generator give them, in pixels."""
    ssd300 = known_anchors(False, (300, 300), 8732)
    assert ssd300 is not None
    np.testing.assert_allclose(ssd300[0], [4, 4, 21, 21], atol=1e-3)
    np.testing.assert_allclose(ssd300[2], [4, 4, 21 * 2**0.5, 21 / 2**0.5], atol=1e-3)
    np.testing.assert_allclose(ssd300[-1], [150, 150, 261 / 2**0.5, 300], atol=1e-3)
    tensorflow = known_anchors(True, (300, 300), 1917)
    assert tensorflow is not None
    np.testing.assert_allclose(tensorflow[0], [150 / 19, 150 / 19, 30, 30], atol=1e-3)
    np.testing.assert_allclose(tensorflow[1], [150 / 19, 150 / 19, 60 * 2**0.5, 60 / 2**0.5], atol=1e-3)
    np.testing.assert_allclose(tensorflow[-1], [150, 150, 300 * 0.95**0.5, 300 * 0.95**0.5], atol=1e-3)


def test_anchors_of_the_settings_or_of_an_output() -> None:
    anchor = (20.0, 12.0, 10.0, 8.0)
    deltas = np.array([[1, -2, 0.5, 0.1]], np.float32)
    scores = np.array([[0.1, 0.9]], np.float32)
    middle = (20 + 1 * 0.1 * 10, 12 - 2 * 0.1 * 8)
    half = (10 * np.exp(0.1) / 2, 8 * np.exp(0.02) / 2)
    expected = np.array([[middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]])
    evidence = Evidence(((1, 4), (1, 2), (1, 4)), ("loc", "conf", "priors"), (24, 40), "detection")
    answer = recognised(evidence, "ssd")
    assert answer is not None and answer.roles == {"boxes": 0, "scores": 1, "anchors": 2}
    compare(decoder_of(answer, ("face",))([deltas, scores, np.array([anchor], np.float32)]), expected, [0])
    shares = dataclasses.replace(answer, normalised=True)
    as_shares = np.array([anchor], np.float32) / np.array([40, 24, 40, 24], np.float32)
    compare(decoder_of(shares, ("face",))([deltas, scores, as_shares]), expected, [0])
    given_ones = dataclasses.replace(
        answer, roles={"boxes": 0, "scores": 1}, size=(24, 40), strides=(40,), anchors=((10.0, 8.0),)
    )
    at_middle = expected + np.array([0, 8, 0, 8])
    found = decoder_of(given_ones, ())([deltas, scores])
    assert isinstance(found, Detections)
    np.testing.assert_allclose(found.boxes[:, 0::2], at_middle[:, 0::2], atol=1e-3)
    np.testing.assert_allclose(found.boxes[0, 1], at_middle[0, 1], atol=1e-3)
    for wrong, said in (
        ({"strides": (40, 20)}, "anchors for 1 levels and strides for 2"),
        ({"anchors": ((1.0, 2.0, 3.0),)}, "a width and no height"),
        ({"strides": (8,)}, "make 15 anchors, and there are 1 boxes"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            decoder_of(dataclasses.replace(given_ones, **wrong), ())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4), st.booleans(), seeds)
def test_decoded_boxes_come_back(count: int, boxes_first: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = some_boxes(random, count)
    shares = np.zeros((3000, 4), np.float32)
    likely = np.zeros((3000, 21), np.float32)
    likely[:, 0] = 1
    classes = []
    for i, box in zip(random.choice(3000, count, replace=False), boxes, strict=True):
        shares[i] = box / 300
        classes.append(int(random.integers(20)))
        likely[i, [0, 1 + classes[-1]]] = 0.1, 0.9
    outputs, names = [likely, shares], ["scores", "boxes"]
    if boxes_first:
        outputs, names = outputs[::-1], names[::-1]
    evidence = Evidence(tuple(o.shape for o in outputs), tuple(names), (300, 300), "detection")
    answer = recognised(evidence)
    assert answer is not None and answer.family == "ssd-decoded"
    compare(decoder_of(answer, ())(outputs), boxes, classes)


ORDERS = {
    "first": (("", "", "", ""), ("boxes", "classes", "scores", "count")),
    "second": (("", "", "", ""), ("scores", "boxes", "count", "classes")),
    "names": (
        ("detection_scores", "num_detections", "detection_classes", "detection_boxes"),
        ("scores", "count", "classes", "boxes"),
    ),
}


def post_processed(order: str, count_shape: Shape) -> tuple[AnswerFormat, list[Float32Array]]:
    values = {
        "boxes": np.array([[0.1, 0.2, 0.5, 0.4], [0, 0.5, 1, 0.75], [0, 0, 1, 1]], np.float32),
        "classes": np.array([2, 0, 1], np.float32),
        "scores": np.array([0.9, 0.6, 0.8], np.float32),
        "count": np.full(count_shape, 2, np.float32),
    }
    names, roles = ORDERS[order]
    outputs = [values[role] for role in roles]
    answer = recognised(Evidence(tuple(o.shape for o in outputs), names, (100, 200), "detection"))
    assert answer is not None and answer.family == "tflite-detection"
    return answer, outputs


@pytest.mark.parametrize("count_shape", [(), (1,)])
@pytest.mark.parametrize("order", sorted(ORDERS))
def test_what_tflite_has_suppressed_itself_is_read_in_each_order(order: str, count_shape: Shape) -> None:
    answer, outputs = post_processed(order, count_shape)
    found = decoder_of(answer, ("person", "dog", "cat"))(outputs)
    assert isinstance(found, Detections)
    # The third is none: the count says two.
    np.testing.assert_allclose(found.boxes, [[40, 10, 80, 50], [100, 0, 150, 100]], atol=1e-4)
    assert [found.label(i) for i in range(len(found))] == ["cat", "person"]
    for output in outputs:
        output[...] = np.nan
    nothing = decoder_of(answer, ())(outputs)
    assert isinstance(nothing, Detections) and len(nothing) == 0


def test_what_does_not_fit_is_named() -> None:
    evidence = Evidence(((10, 4), (9,), (10,), ()), ("",) * 4, (100, 100), "detection")
    with pytest.raises(ConfigurationError, match=r"outputs are 10 x 4, 9, 10, 1, and have to be"):
        recognised(evidence, "tflite-detection")
    raw = Evidence(((1000, 4), (1000, 5)), ("a", "b"), (300, 300), "detection")
    assert recognised(raw) is None
    answer = recognised(raw, "ssd")
    assert answer is not None
    with pytest.raises(ConfigurationError, match=r"no known set of anchors has 1000 for an input of 300 x 300"):
        decoder_of(answer, ())
    with pytest.raises(ConfigurationError, match=r"2 labels, and output 1 \(beside the background\) holds 4 classes"):
        decoder_of(answer, ("a", "b"))
    with pytest.raises(ConfigurationError, match=r"no ssd: no output has 4 numbers per box"):
        recognised(dataclasses.replace(raw, shapes=((1000, 5), (1000, 5))), "ssd")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("family", ["ssd", "ssd-tf"])
def test_boxes_that_are_no_numbers_are_none(family: str, value: float) -> None:
    number, side = {"ssd": (3234, 320), "ssd-tf": (1917, 300)}[family]
    evidence = Evidence(((number, 4), (number, 3)), ("a", "b"), (side, side), "detection")
    answer = recognised(evidence, family)
    assert answer is not None
    scores = np.tile(np.array([0.1, 0.2, 0.7], np.float32), (number, 1))
    scores[5] = value
    boxes = np.full((number, 4), value, np.float32)
    boxes[0] = 0
    found = decoder_of(answer, ())([boxes, scores])
    assert isinstance(found, Detections) and np.isfinite(found.boxes).all() and len(found) <= answer.most
