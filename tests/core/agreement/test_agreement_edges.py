"""Agreement at its ends: limits that count as equal, integers, rules in words, each refusal's sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.agreement.agreement import (
    RANGE_FRACTION,
    RELATIVE_ERROR,
    Agreement,
    agreement,
    frame_scores,
    kept_answers,
)
from multigraft.agreement.betting import lower_bound_of_mean
from multigraft.agreement.binomial import lower_bound
from multigraft.answers.class_map import ClassMap
from multigraft.answers.kind import Kind
from multigraft.answers.own_format import OwnFormat
from multigraft.errors import InputError, MultigraftError, UsageError

Array = npt.NDArray[Any]
pytestmark = pytest.mark.filterwarnings("error")


def column(*values: float) -> Array:
    return np.array(values, np.float32)[:, None]


def scores(kind: Kind, original: Array, new: Array, tolerance: float | None = None) -> list[float]:
    by_frame, *_ = frame_scores(kind, [original], [new], tolerance)
    return [float(score) for score in by_frame]


def sentence(error: type[MultigraftError], call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_every_figure_stands_in_the_result() -> None:
    a = column(0, 1, 2, 3)
    found = agreement("regression", [a], [a + column(0, 0, 0, 1)], confidence=0.9, tolerance=0.5)
    assert found == Agreement(0.75, lower_bound(3, 4, 0.9), 0.9, 4, "regression", 0.5, "every value within 0.5")
    assert found.to_json() == vars(found)
    assert agreement("regression", [a], [a]).confidence == 0.95


MAPS = np.random.default_rng(0).standard_normal((5, 4, 4, 6)).astype(np.float32)
BOXES = np.tile(np.array([[0, 0, 2, 2], [4, 4, 8, 8]], np.float32), (5, 1, 1))
BOX_SCORES = np.full((5, 2), 0.9, np.float32)


@pytest.mark.parametrize(
    ("kind", "outputs", "tolerance", "used", "rule", "is_binary"),
    [
        ("classification", [MAPS], None, None, "same class with the highest score", True),
        ("classification", [MAPS], 0.3, None, "same class with the highest score", True),
        ("segmentation", [MAPS], None, None, "share of pixels with the same class, per frame", False),
        ("detection", [BOXES, BOX_SCORES], None, 0.5,
         "share of boxes matched with the same class and IoU of at least 0.5, per frame", False),
        ("detection", [BOXES, BOX_SCORES], 0.75, 0.75,
         "share of boxes matched with the same class and IoU of at least 0.75, per frame", False),
        ("detection", [MAPS], 0.75, 0.1, "relative error of every output at most 0.1", True),
        ("regression", [MAPS], None, 0.05, "every value within 0.05 of the output's range", True),
        ("regression", [MAPS], 0.25, 0.25, "every value within 0.25", True),
        ("landmarks", [MAPS], None, 0.05, "share of coordinates within 0.05 of the output's range, per frame", False),
        ("landmarks", [MAPS], 0.25, 0.25, "share of coordinates within 0.25, per frame", False),
        ("other", [MAPS], None, 0.1, "relative error of every output at most 0.1", True),
        ("other", [MAPS], 0.25, 0.25, "relative error of every output at most 0.25", True),
    ],
)  # fmt: skip
def test_rules_are_told_in_words(
    kind: Kind, outputs: list[Array], tolerance: float | None, used: float | None, rule: str, is_binary: bool
) -> None:
    found = frame_scores(kind, outputs, outputs, tolerance)
    np.testing.assert_array_equal(found[0], np.ones(5))
    assert found[1:] == (used, rule, is_binary)
    bound = lower_bound(5, 5, 0.95) if is_binary else lower_bound_of_mean(np.ones(5), 0.95)
    assert agreement(kind, outputs, outputs, tolerance=tolerance).lower_bound == bound
    assert (RANGE_FRACTION, RELATIVE_ERROR) == (0.05, 0.1)


def test_a_bound_of_shares_is_that_of_a_mean_and_of_yes_or_no_that_of_a_count() -> None:
    a = np.zeros((40, 4), np.float32)
    b = a.copy()
    b[:10, 0] = 9
    shares = np.repeat([0.75, 1.0], [10, 30])
    graded = agreement("landmarks", [a], [b], tolerance=1)
    assert graded.is_graded and graded.lower_bound == lower_bound_of_mean(shares, 0.95)
    counted = agreement("regression", [a], [b], tolerance=1)
    assert not counted.is_graded and counted.lower_bound == lower_bound(30, 40, 0.95)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    said = sentence(UsageError, agreement, "other", [MAPS], [MAPS], confidence=confidence)
    assert said == f"confidence {confidence} is not between 0 and 1; give for instance 0.95."


def test_outputs_that_cannot_be_compared_are_named() -> None:
    other = MAPS[:, :3]
    assert sentence(InputError, agreement, "other", [MAPS], [other]) == (
        "outputs of shapes [(5, 3, 4, 6)] cannot be compared with [(5, 4, 4, 6)]; compare the same task."
    )
    assert "cannot be compared" in sentence(InputError, agreement, "other", [MAPS], [MAPS, MAPS])
    for outputs in ([], [MAPS[:0]], [MAPS, MAPS[:2]]):
        said = sentence(UsageError, agreement, "other", outputs, outputs)
        assert said == "agreement needs outputs of at least one frame; give frames."
    broken = MAPS.copy()
    broken[0, 0, 0, 0] = np.inf
    assert sentence(InputError, agreement, "other", [MAPS, broken], [MAPS, MAPS]) == (
        "the original network gives NaN or infinity; check the network and its preprocessing."
    )


@pytest.mark.parametrize("kind", ["classification", "segmentation", "regression", "landmarks", "other"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_with_an_answer_that_is_no_number_does_not_agree(kind: Kind, value: float) -> None:
    """Not even where the class would be the same: -inf is no highest score, inf that of its class."""
    a = np.zeros((3, 2, 2, 2), np.float32)
    a[:, 0] = 1
    b, c = a.copy(), a.copy()
    b[1, 1, 0, 0] = value
    c[2, 0, 0, 0] = value
    found, *_ = frame_scores(kind, [a, a], [b, c], 1e9)
    assert found.tolist() == [1, 0, 0]


def test_detectors_that_fail_on_a_frame_do_not_agree_on_it() -> None:
    broken = BOX_SCORES.copy()
    broken[3, 0] = np.nan
    found, *_ = frame_scores("detection", [BOXES, BOX_SCORES], [BOXES, broken])
    assert found.tolist() == [1, 1, 1, 0, 1]


def test_a_class_that_is_no_number_is_no_class_and_no_warning() -> None:
    classes = np.full((5, 2), 3, np.float32)
    broken = classes.copy()
    broken[2, 1] = np.nan
    found, *_ = frame_scores("detection", [BOXES, BOX_SCORES, classes], [BOXES, BOX_SCORES, broken])
    assert found.tolist() == [1, 1, 0, 1, 1]


def test_boxes_have_to_overlap_as_much_as_is_asked() -> None:
    moved = BOXES.copy()
    moved[:, 1, ::2] += 1
    for tolerance, value in ((0.5, 1.0), (0.6, 1.0), (0.61, 0.5), (None, 1.0)):
        assert agreement("detection", [BOXES, BOX_SCORES], [moved, BOX_SCORES], tolerance=tolerance).value == value


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_classes_that_are_given_as_integers_are_compared_as_they_are(kind: Kind) -> None:
    a = np.array([[1, 2], [3, 4], [5, 6]])
    b = np.array([[1, 2], [3, 9], [8, 9]])
    assert scores(kind, a, b) == ([1, 0, 0] if kind == "classification" else [1, 0.5, 0])
    assert scores(kind, a.astype(np.uint8) % 2 == 0, a % 2 == 0) == [1, 1, 1]
    assert scores(kind, a[:, :1], b[:, :1]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("original", "new", "expected"),
    [
        # Probabilities from 0 to 1, both ends included: yes begins above a half.
        ((0.0, 0.4, 1.0), (0.5, 0.6, 0.51), [1, 0, 1]),
        ((0.0, 0.5, 1.0), (0.0, 0.4, 1.0), [1, 1, 1]),
        # One below 0 or above 1 makes them logits: yes begins above 0.
        ((-0.1, 0.4, 1.0), (-0.1, 0.2, -0.2), [1, 1, 0]),
        ((0.0, 0.4, 1.1), (-0.1, 0.2, 0.0), [1, 1, 0]),
        ((0.0, 0.4, 1.5), (0.0, 0.2, 0.3), [1, 1, 1]),
        ((-3.0, -0.4, -0.1), (0.4, -1.0, 0.0), [0, 1, 1]),
    ],
)
@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_a_single_score_is_yes_above_its_limit(
    kind: Kind, original: tuple[float, ...], new: tuple[float, ...], expected: list[float]
) -> None:
    assert scores(kind, column(*original), column(*new)) == expected


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 2, 5, 5), 1), ((3, 5, 5, 2), 3), ((3, 4, 6, 4), 1), ((3, 4, 2, 5), 1), ((3, 5, 9, 4), 3), ((3, 3, 2, 9), 1)],
)
def test_the_smaller_outer_axis_holds_the_classes(shape: tuple[int, ...], axis: int) -> None:
    random = np.random.default_rng(sum(shape))
    a, b = random.standard_normal((2, *shape)).astype(np.float32)
    expected = (a.argmax(axis) == b.argmax(axis)).reshape(3, -1).mean(axis=1)
    assert scores("segmentation", a, b) == expected.tolist()
    assert 0 < expected.mean() < 0.9


@pytest.mark.parametrize("shape", [(3, 5, 5), (3, 5, 5, 1), (3, 1, 5, 5), (3, 25), (3, 1, 5, 5, 5)])
def test_maps_of_one_class_are_yes_or_no_per_pixel(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(len(shape))
    a, b = random.standard_normal((2, *shape)).astype(np.float32)
    expected = ((a > 0) == (b > 0)).reshape(3, -1).mean(axis=1)
    assert scores("segmentation", a, b) == expected.tolist()


def test_a_difference_of_exactly_the_tolerance_is_within_it() -> None:
    a = column(0, 0, 0)
    assert scores("regression", a, column(0.5, 0.25, 0.75), 0.5) == [1, 1, 0]
    assert scores("landmarks", a, column(0.5, 0.25, 0.75), 0.5) == [1, 1, 0]
    assert scores("other", column(2, 2, 2), column(2.5, 2.25, 2.75), 0.25) == [1, 1, 0]
    # In the precision of double, whatever the outputs are.
    assert scores("regression", np.array([[100], [100]], np.uint8), np.array([[101], [99]], np.uint8), 1) == [1, 1]
    assert scores("other", np.array([[100], [100]], np.uint8), np.array([[101], [99]], np.uint8), 0.01) == [1, 1]
    assert scores("regression", np.array([[0.1]], np.float16), np.array([[0.2]], np.float16), 0.0999) == [0]


def test_the_default_tolerance_is_a_twentieth_of_the_range_without_a_hundredth_at_either_end() -> None:
    original = np.linspace(0, 100, 101)[:, None]
    original[0], original[-1] = -1e4, 1e4
    within = 0.05 * 98
    for off, expected in ((within - 1e-6, 1.0), (within + 0.01, 0.0)):
        assert agreement("regression", [original], [original + off]).value == expected
    constant = np.full((4, 1), 1000.0, np.float32)
    rounded = np.nextafter(constant, np.float32(2000))
    assert agreement("regression", [constant], [rounded]).value == 1
    assert agreement("regression", [constant], [constant + 0.001]).value == 0


def test_an_error_relative_to_nothing_is_only_none() -> None:
    zero = np.zeros((2, 3), np.float32)
    other = zero.copy()
    other[1, 1] = 1e-37
    assert scores("other", zero, other) == [1, 0]
    tiny = float(np.finfo(np.float32).tiny)
    assert scores("other", zero.astype(np.float64), np.array([[tiny / 20, 0, 0], [tiny / 5, 0, 0]])) == [1, 0]


def test_answers_that_are_kept_give_the_same_agreement_and_are_decoded_once() -> None:
    calls: list[int] = []

    def decode(outputs: list[Array], labels: tuple[str, ...], size: tuple[int, int]) -> Array:
        calls.append(1)
        return np.array([[*outputs[0], 0.9]])

    own = OwnFormat("own:decode", decode, (8, 8))
    original = [np.array([[0, 0, 4, 4], [1, 1, 5, 5]], np.float32)]
    new = [np.array([[0, 0, 4, 4], [5, 5, 7, 7]], np.float32)]
    expected = agreement("detection", original, new, answer=own)
    right = kept_answers(own, (), original)
    calls.clear()
    assert agreement("detection", original, new, answer=own, right=right) == expected
    assert (expected.value, len(calls)) == (0.5, 2)


def test_answers_that_would_fill_the_memory_are_not_kept() -> None:
    own = OwnFormat("own:decode", lambda outputs, labels, size: ClassMap(outputs[0].astype(np.int32), ()), (2, 2))
    assert kept_answers(own, (), [np.zeros((3, 2, 2), np.float32)]) is None
    assert kept_answers(None, (), [np.zeros((3, 2, 2), np.float32)]) is None
