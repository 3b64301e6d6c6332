"""Which outputs are boxes, how far two overlap, and which match which."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.agreement.boxes import SCORE_THRESHOLD, Detections, Layout
from multigraft.answers.geometry.overlap import iou_matrix
from multigraft.answers.matching import IOU

Array = npt.NDArray[Any]
pytestmark = pytest.mark.filterwarnings("error")

BOXES = np.array([[[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 7]]], np.float32)
SCORES = np.array([[0.9, 0.5, 0.1]], np.float32)
CLASSES = np.array([[3.0, 1.0, 2.0]], np.float32)
PER_CLASS = np.array([[[0.1, 0.9], [0.5, 0.2], [0.1, 0.0]]], np.float32)


def test_the_thresholds_are_those_that_are_said() -> None:
    assert (SCORE_THRESHOLD, IOU) == (0.3, 0.5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_boxes_scores_and_classes_are_told_apart_in_any_order(order: tuple[int, ...]) -> None:
    outputs = [(BOXES, SCORES, CLASSES)[i] for i in order]
    assert Layout.find(outputs) == Layout(order.index(0), order.index(1), order.index(2))


def test_other_outputs_beside_them_are_left_alone() -> None:
    count, other = np.array([3.0], np.float32), np.zeros((1, 5, 7), np.float32)
    assert Layout.find([count, BOXES, other, SCORES]) == Layout(1, 3, None)
    assert Layout.find([PER_CLASS, count, BOXES]) == Layout(2, 0, None)
    # Scores per class win over flat ones; integers are no scores per class.
    assert Layout.find([BOXES, SCORES, PER_CLASS]) == Layout(0, 2, None)
    assert Layout.find([BOXES, SCORES, (PER_CLASS > 0.3).astype(np.int64)]) == Layout(0, 1, None)
    # A second tensor of four features per row is one of scores.
    four = np.tile(SCORES[..., None], (1, 1, 4))
    assert Layout.find([BOXES, four]) == Layout(0, 1, None)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [SCORES, CLASSES],
        [BOXES],
        [BOXES, SCORES[:, :2]],
        [BOXES, np.concatenate([SCORES, SCORES])],
        [BOXES.astype(np.int64), SCORES],
        [BOXES[0], SCORES],
        [BOXES[..., :3], SCORES],
        [BOXES, SCORES * 2],
        [BOXES, SCORES - 0.2],
        [BOXES, SCORES * 0.1],
        [BOXES[..., [2, 1, 0, 3]], SCORES],
        [BOXES[..., [0, 3, 2, 1]], SCORES],
        [BOXES, PER_CLASS + 0.2],
        [BOXES, SCORES[..., None, None]],
    ],
)
def test_anything_else_is_no_detector(outputs: list[Array]) -> None:
    assert Layout.find(outputs) is None


def test_only_boxes_that_count_have_to_have_their_corners_in_order() -> None:
    crossed = BOXES.copy()
    crossed[0, 2] = [6, 7, 5, 5]
    assert Layout.find([crossed, SCORES]) == Layout(0, 1, None)
    crossed[0, 1] = [1, 1, 1, 1]
    assert Layout.find([crossed, SCORES]) == Layout(0, 1, None)
    assert Layout.find([BOXES, np.array([[1.0, 0.0, 0.0]])]) is not None
    assert Layout.find([BOXES, np.full((1, 3), 0.3)]) is not None
    assert Layout.find([BOXES, np.full((1, 3), 0.29)]) is None


def test_outputs_are_read_in_their_types() -> None:
    flat = Detections.read([BOXES, SCORES, CLASSES], Layout(0, 1, 2))
    assert [str(a.dtype) for a in (flat.boxes, flat.scores, flat.classes)] == ["float64", "float64", "int64"]
    assert flat.classes.tolist() == [[3, 1, 2]] and flat.scores.tolist() == SCORES.astype(float).tolist()
    assert Detections.read([BOXES, SCORES], Layout(0, 1, None)).classes.tolist() == [[0, 0, 0]]
    several = Detections.read([PER_CLASS, BOXES], Layout(1, 0, None))
    assert several.classes.tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(several.scores, [[0.9, 0.5, 0.1]], rtol=1e-6)


def test_overlap_by_hand() -> None:
    a = np.array([[0.0, 0, 2, 2], [0, 0, 1, 4], [3, 3, 3, 5], [4, 4, 3, 3]])
    b = np.array([[1.0, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2], [3, 3, 3, 5], [9, 9, 9, 9]])
    expected = [
        [1 / 7, 1.0, 0.0, 0.0, 0.0],
        [0.0, 2 / 6, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    np.testing.assert_allclose(iou_matrix(a, b), expected, rtol=1e-12)
    assert iou_matrix(a[:0], b).shape == (0, 5) and iou_matrix(a, b[:0]).shape == (4, 0)


def scored(boxes: list[list[float]], scores: list[float], classes: list[int] | None = None) -> Detections:
    kinds = [0] * len(scores) if classes is None else classes
    return Detections(np.array([boxes], float).reshape(1, -1, 4), np.array([scores], float), np.array([kinds]))


def shifted(by: float) -> list[float]:
    return [by, 0, by + 10, 10]


@pytest.mark.parametrize(
    ("mine", "theirs", "share"),
    [
        (scored([shifted(0)], [0.9]), scored([shifted(0)], [0.4]), 1.0),
        (scored([shifted(0)], [0.3]), scored([shifted(0)], [0.3]), 1.0),
        (scored([shifted(0)], [0.29]), scored([shifted(0)], [0.9]), 0.0),
        (scored([shifted(0)], [0.9]), scored([shifted(0)], [0.29]), 0.0),
        (scored([shifted(0)], [0.29]), scored([shifted(0)], [0.29]), 1.0),
        (scored([shifted(0)], [0.9], [1]), scored([shifted(0)], [0.9], [2]), 0.0),
        (scored([shifted(0), shifted(50)], [0.9, 0.8]), scored([shifted(0)], [0.9]), 2 / 3),
        (scored([shifted(0)], [0.9]), scored([shifted(0), shifted(50)], [0.9, 0.8]), 2 / 3),
        (scored([shifted(0), shifted(1)], [0.9, 0.8]), scored([shifted(0.5)], [0.9]), 2 / 3),
        # Exactly half: 10 x 10 moved by 10 / 3 share 6.67 of 13.33.
        (scored([[0, 0, 3, 1]], [0.9]), scored([[1, 0, 4, 1]], [0.9]), 1.0),
        (scored([[0, 0, 3, 1]], [0.9]), scored([[1.01, 0, 4.01, 1]], [0.9]), 0.0),
        # The box of the higher score takes the best, though the other overlaps more with it.
        (scored([shifted(3), shifted(0)], [0.9, 0.8]), scored([shifted(0)], [0.9]), 2 / 3),
    ],
)
def test_matched_boxes_as_a_share_of_both(mine: Detections, theirs: Detections, share: float) -> None:
    found = mine.f1(theirs)
    assert found.shape == (1,) and found.dtype == np.float64
    assert found[0] == pytest.approx(share, rel=1e-12)


def test_boxes_are_matched_in_the_order_of_their_scores_each_once() -> None:
    """The second box overlaps one of theirs enough; the first overlaps both, and that one more: it has to wait."""
    theirs = scored([shifted(0), shifted(3)], [0.9, 0.9])
    mine = scored([shifted(1.4), shifted(-3)], [0.5, 0.8])
    assert mine.f1(theirs, 0.5)[0] == 1.0
    assert scored([shifted(1.4), shifted(-3)], [0.8, 0.5]).f1(theirs, 0.5)[0] == 0.5
    equal = scored([shifted(1.4), shifted(-3)], [0.8, 0.8])
    assert equal.f1(theirs, 0.5)[0] == 0.5


def test_frames_are_judged_one_by_one_with_the_overlap_that_is_asked_for() -> None:
    boxes = np.array([[shifted(0), shifted(50)], [shifted(0), shifted(50)]])
    moved = boxes + np.array([0.0, 3.0])[:, None, None] * np.array([1, 0, 1, 0])
    scores, classes = np.full((2, 2), 0.9), np.zeros((2, 2), np.int64)
    a, b = Detections(boxes, scores, classes), Detections(moved, scores, classes)
    assert a.f1(b).tolist() == [1.0, 1.0]
    assert a.f1(b, 0.6).tolist() == [1.0, 0.0]
    assert a.f1(b, IOU).tolist() == a.f1(b).tolist()
