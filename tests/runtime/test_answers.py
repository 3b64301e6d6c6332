"""From output tensors to answers: every kind of output against its definition in float64."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from multigraft.answers.class_map import ClassMap
from multigraft.answers.kind import Kind
from multigraft.bundle.manifest import Task
from multigraft.errors import BundleError
from multigraft.runtime.answers import MAX_LISTED_CLASSES, Classification, Raw, Values, make_decoder
from multigraft.tensors.arrays import Array, Float64Array
from multigraft.tensors.joining import Concatenate, Joined, Part
from multigraft.tensors.specs import TensorSpec

SOFTMAX_SCALE = 1 / 256
NUMBERS: tuple[Kind, ...] = ("regression", "landmarks")
IntegerType = type[np.int8] | type[np.uint8]


def task(kind: Kind, labels: tuple[str, ...] = (), outputs: int = 1) -> Task:
    return Task("t", kind, tuple(f"o{i}" for i in range(outputs)), ("s",), labels)


def spec_of(array: Array, scale: float | None = None, zero_point: int = 0) -> TensorSpec:
    return TensorSpec("o0", array.shape, str(array.dtype), scale, zero_point)


def classified(
    array: Array, scale: float | None = None, zero_point: int = 0, labels: tuple[str, ...] = ()
) -> Classification:
    answer = make_decoder(task("classification", labels), [spec_of(array, scale, zero_point)], [array])()
    assert isinstance(answer, Classification)
    return answer


def softmax(values: Float64Array) -> Float64Array:
    raised = np.exp(values - values.max())
    result: Float64Array = raised / raised.sum()
    return result


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("classes", [2, 10, MAX_LISTED_CLASSES, MAX_LISTED_CLASSES + 1, 1000])
def test_8_bit_logits_get_their_softmax(dtype: IntegerType, classes: int) -> None:
    limits: np.iinfo[Any] = np.iinfo(dtype)
    random = np.random.default_rng(classes)
    for _ in range(20):
        stored: Array = random.integers(limits.min, limits.max + 1, (1, classes)).astype(dtype)
        expected = softmax(0.0625 * (stored[0].astype(np.float64) - 3))
        answer = classified(stored, 0.0625, 3)
        assert answer.index == expected.argmax()
        assert answer.score == pytest.approx(expected.max(), rel=1e-9)


def test_of_equal_classes_the_first_is_meant() -> None:
    for classes in (3, MAX_LISTED_CLASSES + 5):
        stored = np.zeros((1, classes), np.int8)
        stored[0, [1, 2]] = 100
        assert classified(stored, 0.1).index == 1


@pytest.mark.parametrize(("dtype", "zero_point"), [(np.int8, -128), (np.uint8, 0)])
def test_8_bit_probabilities_are_the_scores(dtype: IntegerType, zero_point: int) -> None:
    probabilities = np.array([[26, 200, 30]], np.int64)
    stored: Array = (probabilities + zero_point).astype(dtype)
    answer = classified(stored, SOFTMAX_SCALE, zero_point, ("a", "b", "c"))
    assert (answer.label, answer.index, answer.score) == ("b", 1, 200 / 256)
    # Another scale or zero point is no probability, but logits.
    shifted = classified(stored, SOFTMAX_SCALE, zero_point + 1)
    assert shifted.score == pytest.approx(softmax(probabilities[0] * SOFTMAX_SCALE).max(), rel=1e-6)
    other = classified(stored, SOFTMAX_SCALE * 1.01, zero_point)
    assert other.score == pytest.approx(softmax(probabilities[0] * SOFTMAX_SCALE * 1.01).max(), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_wider_outputs_get_their_softmax_or_are_probabilities(dtype: type[np.float32] | type[np.int16]) -> None:
    scale = None if dtype is np.float32 else 1 / 4096
    real = np.array([[-1.5, 2.25, 0.5, 2.0]])
    stored: Array = (real if scale is None else real / scale).astype(dtype)
    expected = softmax(real[0])
    answer = classified(stored, scale)
    assert answer.index == 1 and answer.score == pytest.approx(expected.max(), rel=1e-6)
    probable: Array = (expected if scale is None else np.rint(expected / scale))[None].astype(dtype)
    shown = classified(probable, scale)
    assert shown.score == pytest.approx(expected.max(), abs=2e-4)
    # Adding up to 1 is not enough: nothing may be negative.
    odd = np.array([[1.5, -0.5]])
    mixed = classified((odd if scale is None else odd / scale).astype(dtype), scale)
    assert mixed.score == pytest.approx(softmax(odd[0]).max(), rel=1e-6)


@pytest.mark.parametrize(
    ("logit", "index", "score"),
    [(0.0, 1, 0.5), (2.0, 1, 1 / (1 + np.exp(-2))), (-2.0, 0, 1 / (1 + np.exp(-2))), (-800.0, 0, 1.0)],
)
def test_a_single_logit_is_yes_from_one_half_on(logit: float, index: int, score: float) -> None:
    answer = classified(np.array([[logit]], np.float32), labels=("no", "yes"))
    assert (answer.index, answer.label) == (index, ("no", "yes")[index])
    assert answer.score == pytest.approx(score)


def test_a_single_8_bit_probability_is_taken_as_it_is() -> None:
    for stored, index, score in ((-128 + 200, 1, 200 / 256), (-128 + 100, 0, 156 / 256), (0, 1, 0.5)):
        answer = classified(np.array([[stored]], np.int8), SOFTMAX_SCALE, -128)
        assert answer.index == index and answer.score == pytest.approx(score)


def test_a_score_is_that_of_the_moment_of_the_answer() -> None:
    """Also where it is computed when it is first read: the next frame overwrites the outputs."""
    for classes in (3, 200):
        stored = np.zeros((1, classes), np.int8)
        stored[0, 1] = 100
        decode = make_decoder(task("classification"), [spec_of(stored, 0.1)], [stored])
        answer = decode()
        assert isinstance(answer, Classification)
        expected = softmax(0.1 * stored[0].astype(np.float64)).max()
        stored[0, 2] = 100
        assert answer.score == pytest.approx(expected, rel=1e-9)
        assert answer == pickle.loads(pickle.dumps(answer))
        assert decode() != answer


def test_numbers_are_real_and_stay_when_the_outputs_change() -> None:
    stored = np.array([[1, -2, 3]], np.int8)
    answers = [make_decoder(task(kind), [spec_of(stored, 0.5, 1)], [stored])() for kind in NUMBERS]
    stored[...] = 7
    for answer in answers:
        assert isinstance(answer, Values) and answer.values.tolist() == [0.0, -1.5, 1.0]
    two = make_decoder(task("landmarks", outputs=2), [spec_of(stored, 0.5, 1)] * 2, [stored, stored])()
    assert isinstance(two, Raw) and [o.tolist() for o in two.outputs] == [[3.0] * 3] * 2


def test_a_map_of_one_channel_is_cut_at_one_half_of_probabilities_and_at_0_of_logits() -> None:
    probabilities = np.array([0.0, 0.5, 0.51, 1.0], np.float32).reshape(1, 2, 2, 1)
    for array, expected in ((probabilities, [[0, 0], [1, 1]]), (probabilities - 0.4, [[0, 1], [1, 1]])):
        answer = make_decoder(task("segmentation"), [spec_of(array)], [array])()
        assert isinstance(answer, ClassMap) and answer.classes.tolist() == expected
    above = np.array([0.2, 0.6, 1.5, -0.0], np.float32).reshape(1, 2, 2, 1)
    answer = make_decoder(task("segmentation"), [spec_of(above)], [above])()
    assert isinstance(answer, ClassMap) and answer.classes.tolist() == [[1, 1], [1, 0]]
    assert answer.to_json() == {"shape": [2, 2], "pixels": {"0": 1, "1": 3}}


def test_labels_and_shapes_that_do_not_fit_are_refused() -> None:
    logits, pixels = np.zeros((1, 3), np.float32), np.zeros((1, 4, 4, 3), np.float32)
    with pytest.raises(BundleError, match="has 2 labels and its output has 3 classes"):
        make_decoder(task("classification", ("a", "b")), [spec_of(logits)], [logits])
    with pytest.raises(BundleError, match="has 3 labels and its output has 2 classes"):
        make_decoder(task("classification", ("a", "b", "c")), [spec_of(logits[:, :1])], [logits[:, :1]])
    with pytest.raises(BundleError, match="has 1 labels and its output has 3 classes"):
        make_decoder(task("segmentation", ("a",)), [spec_of(pixels)], [pixels])
    with pytest.raises(BundleError, match=r"is a segmentation and its output has shape \(1, 3\)"):
        make_decoder(task("segmentation"), [spec_of(logits)], [logits])
    with pytest.raises(BundleError, match="is not contiguous"):
        make_decoder(task("classification"), [spec_of(pixels[:, ::2])], [pixels[:, ::2]])


def joined_task(kind: Kind, *joined: Joined) -> Task:
    return Task("t", kind, ("a", "b"), ("s",), joined=joined)


def test_outputs_that_were_parted_are_answered_as_the_network_gave_them() -> None:
    a, b = np.array([[1, 2, 3]], np.int8), np.array([[10, 20]], np.int8)
    specs = [TensorSpec("a", (1, 3), "int8", 0.5, 0), TensorSpec("b", (1, 2), "int8", 100.0, 0)]
    whole = Joined("whole", (Part("b"), Part("a"), Concatenate(1, 2)))
    alone = Joined("a", (Part("a"),))
    decode = make_decoder(joined_task("detection", whole, alone), specs, [a, b])
    answer = decode()
    assert isinstance(answer, Raw)
    assert [o.tolist() for o in answer.outputs] == [[1000, 2000, 0.5, 1, 1.5], [0.5, 1, 1.5]]
    a[0, 0] = 8
    assert [o.tolist() for o in answer.outputs] == [[1000, 2000, 0.5, 1, 1.5], [0.5, 1, 1.5]], "an answer never changes"
    later = decode()
    assert isinstance(later, Raw) and later.outputs[1].tolist() == [4, 1, 1.5]


@pytest.mark.parametrize("kind", NUMBERS)
def test_one_joined_output_of_numbers_is_values(kind: Kind) -> None:
    specs = [TensorSpec("a", (1, 1), "float32"), TensorSpec("b", (1, 1), "float32")]
    arrays: list[Array] = [np.array([[1.5]], np.float32), np.array([[2.5]], np.float32)]
    answer = make_decoder(joined_task(kind, Joined("o", (Part("a"), Part("b"), Concatenate(1, 2)))), specs, arrays)()
    assert isinstance(answer, Values) and answer.values.tolist() == [1.5, 2.5]
