"""YOLO pose: keypoints come back with their boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import cells_of
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError
from tests.core.answers.families.scenes import SEEDS, SIZES, boxes_apart, centred, check, decoded, evidence, format_of


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 20), st.integers(0, 4), st.booleans(), SEEDS)
def test_keypoints_come_back(size: tuple[int, int], keypoints: int, count: int, by_cell: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((5 + 3 * keypoints, cells), np.float32)
    boxes, scores = boxes_apart(random, count, size), random.uniform(0.3, 1, count)
    points = random.uniform(0, 1, (count, keypoints, 3)).astype(np.float32)
    points[:, :, :2] *= size[1]
    where = random.choice(cells, count, replace=False)
    output[:4, where], output[4, where] = centred(boxes).T, scores
    output[5:, where] = points.reshape(count, 3 * keypoints).T
    found = decoded("yolov8-pose", [output.T if by_cell else output], size)
    numbers = check(found, boxes, scores, [0] * count)
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[numbers], points)


def test_people_have_lines_between_their_keypoints_and_they_move_to_the_frame() -> None:
    output = np.zeros((56, 2100), np.float32)
    output[:5, 3] = [100, 100, 40, 80, 0.9]
    output[5:, 3] = np.tile([110, 120, 0.5], 17)
    found = decoded("yolov8-pose", [output])
    assert (5, 7) in found.edges
    assert (15, 13) in found.edges or (13, 15) in found.edges
    placed = found.placed(Placement(np.array([[2.0, 0, 0], [0, 3.0, 5]]), 640, 965))
    assert placed.keypoints is not None
    np.testing.assert_allclose(placed.keypoints[0, 4], [220, 365, 0.5])


def test_keypoints_without_confidences_are_told_by_the_file() -> None:
    shapes = [(4 + 2 + 2 * 5, 2100)]
    told = evidence(shapes, labels=2, metadata={"task": "pose", "kpt_shape": "[5, 2]"})
    answer = format_of("auto", told)
    assert (answer.family, answer.keypoints, answer.keypoint_numbers) == ("yolov8-pose", 5, 2)


def test_rows_of_yolo26_come_back() -> None:
    rows = np.zeros((300, 57), np.float32)
    rows[1, :6] = [10, 20, 50, 90, 0.8, 0]
    rows[1, 6:] = np.tile([30, 40, 0.25], 17)
    found = decoded("yolo26-pose", [rows])
    assert found.boxes.tolist() == [[10, 20, 50, 90]]
    assert found.keypoints is not None
    assert found.keypoints.tolist() == [[[30, 40, 0.25]] * 17]


def test_a_keypoint_that_is_nowhere_has_no_confidence() -> None:
    rows = np.zeros((300, 57), np.float32)
    rows[0, :6] = [10, 20, 50, 90, 0.8, 0]
    rows[0, 6:9] = [np.nan, 5, 1]
    rows[0, 9:12] = [1, np.inf, 1]
    found = decoded("yolo26-pose", [rows])
    assert found.keypoints is not None
    assert found.keypoints[0, :2].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 has 53 numbers beside the box, which are not 1 and 3 per"):
        format_of("yolov8-pose", evidence([(57, 2100)]))
    with pytest.raises(ConfigurationError, match=r"and the file speaks of 17 keypoints"):
        format_of("yolov8-pose", evidence([(50, 2100)], metadata={"kpt_shape": "[17, 3]"}))
