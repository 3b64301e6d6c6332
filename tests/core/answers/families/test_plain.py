"""An own format: a table of roles says which output holds what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoder_of
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Array
from tests.core.answers.families.scenes import evidence, format_of

BOX = [10.0, 20.0, 50.0, 80.0]
WRITTEN = {"corners": BOX, "centres": [30, 50, 40, 60], "sizes": [10, 20, 40, 60], "y_first": [20, 10, 80, 50]}


def found(outputs: Sequence[Array], roles: dict[str, int], labels: tuple[str, ...] = (), **changes: Any) -> Detections:
    arrays = [np.asarray(o, np.float32) for o in outputs]
    answer = format_of("plain", evidence(arrays), roles=roles, **changes)
    detections = decoder_of(answer, labels)(arrays)
    assert isinstance(detections, Detections)
    return detections


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("is_last", [False, True])
def test_boxes_in_every_form_come_back(form: str, is_last: bool) -> None:
    boxes = np.zeros((7, 4), np.float32)
    boxes[5] = WRITTEN[form]
    scores, classes = np.zeros(7), np.zeros(7)
    scores[5], classes[5] = 0.75, 3
    outputs: list[Array] = [scores, boxes.T if is_last else boxes, classes]
    roles = {"boxes": 1, "scores": 0, "classes": 2}
    detections = found(outputs, roles, boxes=form)
    assert detections.boxes.tolist() == [BOX]
    assert detections.scores.tolist() == [0.75]
    assert detections.classes.tolist() == [3]
    shares = np.asarray(WRITTEN[form]) / 320
    boxes[5] = shares
    np.testing.assert_allclose(found(outputs, roles, boxes=form, normalised=True).boxes, [BOX], atol=1e-3)


def test_scores_per_class_name_the_class_and_overlapping_boxes_are_suppressed() -> None:
    boxes = np.array([BOX, BOX, [100, 100, 120, 130]])
    scores = np.array([[0.1, 0.6], [0.1, 0.8], [0.9, 0.2]])
    for given in (scores, scores.T):
        detections = found([boxes, given], {"boxes": 0, "scores": 1}, labels=("cat", "dog"))
        assert [detections.label(i) for i in range(len(detections))] == ["cat", "dog"]
        assert detections.scores.tolist() == pytest.approx([0.9, 0.8])


def test_what_a_network_suppressed_itself_is_left_alone() -> None:
    outputs = [np.array([BOX, BOX]), np.array([0.5, 0.75]), np.array([1, 1])]
    assert len(found(outputs, {"boxes": 0, "scores": 1, "classes": 2})) == 2


def test_scores_may_stand_behind_the_boxes_and_a_number_say_how_many_are_filled() -> None:
    dets = np.array([[*BOX, 0.5], [*BOX, 0.75], [*BOX, 0.9]])
    detections = found([dets, np.array([0, 1, 0]), np.array([2])], {"boxes": 0, "classes": 1, "count": 2})
    assert detections.scores.tolist() == [0.75, 0.5]
    assert detections.classes.tolist() == [1, 0]


def test_keypoints_come_with_their_boxes() -> None:
    boxes, scores = np.array([BOX, [1, 1, 2, 2]]), np.array([0.9, 0.1])
    points = np.arange(2 * 5 * 2, dtype=np.float32).reshape(2, 5, 2)
    for given in (points, points.reshape(2, 10)):
        detections = found([boxes, scores, given], {"boxes": 0, "scores": 1, "keypoints": 2}, keypoints=5)
        assert detections.keypoints is not None
        assert detections.keypoints[0].tolist() == [[x, y, 1] for x, y in points[0].tolist()]


def test_names_of_outputs_say_their_roles() -> None:
    given = evidence(
        [(100,), (100, 4), (100,), (1,)], output_names=("det_scores", "bboxes", "class_ids", "num_detections")
    )
    assert format_of("plain", given).roles == {"boxes": 1, "scores": 0, "classes": 2, "count": 3}


def test_it_is_never_taken_unless_named() -> None:
    assert format_of("plain", evidence([(100, 4), (100,)], output_names=("boxes", "scores"))).family == "plain"
    with pytest.raises(AssertionError):
        format_of("auto", evidence([(100, 4), (100,)], output_names=("boxes", "scores")))


@pytest.mark.parametrize(
    ("shapes", "roles", "changes", "message"),
    [
        ([(9, 4), (9,)], {"scores": 1}, {}, "does not say which output holds the boxes"),
        ([(9, 4), (9,)], {"boxes": 0, "score": 1}, {}, "there is no role 'score'"),
        ([(9, 4), (9,)], {"boxes": 0, "scores": 2}, {}, "scores are said to be in output 2, and there are 2"),
        ([(9, 4), (9,)], {"boxes": 1, "scores": 0}, {}, "output 1 is 9, and boxes are n x 4"),
        ([(9, 4), (8,)], {"boxes": 0, "scores": 1}, {}, "scores are 8, and there are 9 boxes"),
        ([(9, 4)], {"boxes": 0}, {}, "output 0 is 9 x 4, and boxes are n x 5"),
        ([(9, 4), (9,)], {"boxes": 0, "scores": 1}, {"boxes": "edges"}, "there is no form of boxes 'edges'"),
        ([(9, 4), (9,), (9, 6)], {"boxes": 0, "scores": 1, "keypoints": 2}, {}, "does not tell x, y from x, y, conf"),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    shapes: list[tuple[int, ...]], roles: dict[str, int], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        decoder_of(format_of("plain", evidence(shapes), roles=roles, **changes), ())
