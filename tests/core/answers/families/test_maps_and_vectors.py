"""Class maps, dense maps, several labels, embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.embedding import Embedding
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.kind import KINDS
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError

seeds = st.integers(0, 2**31)
ABC = ("a", "b", "c")


def format_of(
    family: str, shape: Shape, size: tuple[int, int] = (32, 48), labels: tuple[str, ...] = ()
) -> AnswerFormat:
    answer = recognised(Evidence((shape,), ("out",), size, "other", labels), family)
    assert answer is not None and answer.family == family
    return answer


@pytest.mark.parametrize("shape", [(10,), (1, 1, 1000), (3, 32, 48), (1, 32, 48)])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("detection", "landmarks")])
def test_nothing_is_read_so_unless_the_user_says_it(shape: Shape, kind: str) -> None:
    found = recognised(Evidence((shape,), ("out",), (32, 48), kind))  # type: ignore[arg-type]
    is_map = kind == "segmentation" and shape[1:] == (32, 48)
    assert (found is not None and found.family == "class-map") if is_map else found is None


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (((3, 32, 48),), True),
        (((3, 8, 12), (3, 8, 12)), True),
        (((32, 48, 3),), True),
        (((32, 48),), True),
        (((1, 32, 48),), True),
        (((3, 9, 40),), False),
        (((3, 32, 48), (10,)), False),
        (((116, 1512), (32, 8, 12)), False),
        (((1, 1, 3),), False),
    ],
)
def test_a_segmentation_is_a_class_map_where_all_outputs_look_like_one(
    shapes: tuple[Shape, ...], expected: bool
) -> None:
    names = tuple(f"o{i}" for i in range(len(shapes)))
    found = recognised(Evidence(shapes, names, (32, 48), "segmentation"))
    assert (found is not None and found.family == "class-map") is expected


def test_labels_of_another_number_than_a_recognised_maps_classes_are_refused() -> None:
    answer = recognised(Evidence(((3, 32, 48),), ("out",), (32, 48), "segmentation", ("a", "b")))
    assert answer is not None
    with pytest.raises(ConfigurationError, match="2 labels, and output 0 holds 3 classes"):
        decoder_of(answer, ("a", "b"))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.sampled_from([(32, 48), (8, 12), (16, 24)]), seeds)
def test_maps_whose_channels_come_last_are_read_alike(classes: int, sides: tuple[int, int], seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(classes, *sides)).astype(np.float32)
    last = np.ascontiguousarray(scores.transpose(1, 2, 0))
    for family in ("class-map", "dense-map"):
        one, other = (decoder_of(format_of(family, s.shape), ())([s]) for s in (scores, last))
        name = "classes" if family == "class-map" else "values"
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_classes_that_a_network_chose_are_told_from_scores_without_labels() -> None:
    chosen = np.array([[[0, 7], [1, 2]]], np.float32)
    for values, expected in (
        (chosen, [[0, 7], [1, 2]]),
        (chosen + 0.25, [[1, 1], [1, 1]]),
        (chosen - 1, [[0, 1], [0, 1]]),
    ):
        found = decoder_of(format_of("class-map", (1, 2, 2), (2, 2)), ())([values])
        assert isinstance(found, ClassMap) and found.classes.tolist() == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 21), st.sampled_from([1, 4]), seeds)
def test_the_largest_score_is_the_class_of_a_pixel(classes: int, stride: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    expected = random.integers(0, classes, (32 // stride, 48 // stride))
    scores = random.normal(size=(classes, *expected.shape)).astype(np.float32)
    np.put_along_axis(scores, expected[None], 10, axis=0)
    scores[(expected[0, 0] + 1) % classes, 0, 0] = np.nan
    labels = tuple(str(i) for i in range(classes))
    found = decoder_of(format_of("class-map", scores.shape), labels)([scores])
    assert isinstance(found, ClassMap)
    np.testing.assert_array_equal(found.classes, expected)
    placed = found.placed(Placement.of_regions((64, 96), None, None, (32, 48)))
    np.testing.assert_array_equal(placed.classes, expected.repeat(2 * stride, axis=0).repeat(2 * stride, axis=1))


def test_one_channel_is_two_classes_or_classes_already_chosen() -> None:
    likely = np.array([[[0.2, 0.6], [0.5, 1.0]]], np.float32)
    for values, said, expected in (
        (likely, "", [[0, 1], [0, 1]]),
        (likely - 0.55, "", [[0, 1], [0, 1]]),
        (likely, "logits", [[1, 1], [1, 1]]),
        (likely * np.nan, "", [[0, 0], [0, 0]]),
    ):
        answer = dataclasses.replace(format_of("class-map", (1, 2, 2)), scores=said)
        found = decoder_of(answer, ())([values])
        assert isinstance(found, ClassMap) and found.classes.tolist() == expected
    chosen = np.array([[0, 2], [1, np.nan]], np.float32)
    for shape in ((2, 2), (1, 2, 2)):
        found = decoder_of(format_of("class-map", shape), ABC)([chosen.reshape(shape)])
        assert isinstance(found, ClassMap) and found.classes.tolist() == [[0, 2], [1, 0]]
        assert found.to_json()["pixels"] == {"a": 2, "b": 1, "c": 1}


def test_a_dense_map_is_what_the_network_gives_and_keeps_it() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    output = values.copy()
    found = decoder_of(format_of("dense-map", (2, 3), (4, 6)), ())([output])
    output[...] = 0
    assert isinstance(found, DenseMap) and found.values.tolist() == [values.tolist()]
    placed = found.placed(Placement.of_regions((2, 3), None, None, (4, 6)))
    np.testing.assert_allclose(placed.values[0], values, atol=1e-6)
    with pytest.raises(ConfigurationError, match="numbers and no classes"):
        decoder_of(format_of("dense-map", (2, 3)), ABC)
    with pytest.raises(ConfigurationError, match="output 0 is 10 and has to be channels x rows x columns"):
        format_of("dense-map", (10,))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.booleans(), seeds)
def test_labels_over_the_threshold_come_by_falling_score(count: int, raw: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    likely = random.uniform(0.001, 0.999, count).astype(np.float32)
    values = np.log(likely / (1 - likely)) if raw else likely
    answer = dataclasses.replace(format_of("multi-label", (count, 1, 1)), scores="logits" if raw else "", most=7)
    labels = tuple(f"l{i}" for i in range(count))
    found = decoder_of(answer, labels)([values.reshape(count, 1, 1)])
    assert isinstance(found, MultiLabel)
    expected = sorted((i for i in range(count) if likely[i] >= 0.5), key=lambda i: -likely[i])[:7]
    assert found.classes.tolist() == expected
    np.testing.assert_allclose(found.scores, likely[expected], atol=1e-5)
    assert [one["label"] for one in found.to_json()["labels"]] == [f"l{i}" for i in expected]
    assert found.placed(Placement.of_regions((9, 9), None, None, (9, 9))) is found


def test_raw_scores_are_told_by_their_range_and_no_numbers_are_no_labels() -> None:
    decode = decoder_of(format_of("multi-label", (3,)), ABC)
    for values, expected in (
        ([3.0, -2.0, 0.5], [0, 2]),
        ([0.9, 0.2, 0.5], [0, 2]),
        ([3.0, 0.2, 0.1], [0, 1, 2]),
        ([np.nan, np.nan, 0.9], [2]),
    ):
        found = decode([np.array(values, np.float32)])
        assert isinstance(found, MultiLabel) and found.classes.tolist() == expected
    with pytest.raises(ConfigurationError, match="2 labels, and output 0 holds 3 classes"):
        decoder_of(format_of("multi-label", (3,)), ("a", "b"))
    with pytest.raises(ConfigurationError, match="output 0 is 3 x 4 and has to be one vector"):
        format_of("multi-label", (3, 4))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 512), st.integers(1, 20), st.floats(1e-30, 1e30), seeds)
def test_the_nearest_of_a_gallery_is_named(numbers: int, known: int, length: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(known, numbers))
    names = tuple(f"n{i}" for i in range(known))
    answer = dataclasses.replace(
        format_of("embedding", (numbers, 1, 1)),
        gallery=names,
        gallery_vectors=tuple(tuple(row) for row in vectors.tolist()),
    )
    query = random.normal(size=numbers)
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    scaled = (query / np.linalg.norm(query) * length).astype(np.float32)
    found = decoder_of(answer, ())([scaled.reshape(numbers, 1, 1)])
    assert isinstance(found, Embedding) and found.similarity is not None
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)
    assert found.similarity == pytest.approx(cosines.max(), abs=1e-4)
    if abs(cosines.max() - 0.4) > 1e-3:
        assert found.name == (names[int(cosines.argmax())] if cosines.max() >= 0.4 else None)
    assert found.to_json()["name"] == (found.name or "unknown")


def test_an_embedding_without_a_gallery_is_the_vector() -> None:
    decode = decoder_of(format_of("embedding", (2,)), ())
    assert decode([np.array([3, 4], np.float32)]).to_json() == {"vector": [0.6, 0.8]}
    for value in (0, np.nan, np.inf):
        assert decode([np.array([value, 1 if value else 0], np.float32)]).to_json() == {"vector": [0.0, 0.0]}


def test_a_gallery_that_does_not_fit_is_refused() -> None:
    answer = format_of("embedding", (2,))
    for names, vectors, said in (
        (("ann",), (), "1 names and 0 vectors"),
        (("ann",), ((1.0, 2.0, 3.0),), "'ann' of the gallery has 3 numbers, and the network gives 2"),
        (("ann",), ((0.0, 0.0),), "'ann' of the gallery is no direction"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            decoder_of(dataclasses.replace(answer, gallery=names, gallery_vectors=vectors), ())
