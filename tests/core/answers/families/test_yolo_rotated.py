"""YOLO with rotated boxes: corners come back, and slanted neighbours do not suppress each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import cells_of
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Array
from tests.core.answers.families.scenes import SEEDS, SIZES, boxes_apart, centred, decoded, evidence, format_of


def corners_by_hand(box: Array, angle: float) -> list[list[float]]:
    """Each corner turned around the centre, x towards y."""
    x, y, wide, high = box.tolist()
    cos, sin = math.cos(angle), math.sin(angle)
    around = [(-wide / 2, -high / 2), (wide / 2, -high / 2), (wide / 2, high / 2), (-wide / 2, high / 2)]
    return [[x + a * cos - b * sin, y + a * sin + b * cos] for a, b in around]


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 15), st.integers(0, 4), SEEDS)
def test_boxes_come_back(size: tuple[int, int], classes: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((5 + classes, cells), np.float32)
    numbers, angles = centred(boxes_apart(random, count, size)), random.uniform(-0.7, 2.3, count)
    kinds, scores = random.integers(0, classes, count), random.uniform(0.3, 1, count).astype(np.float32)
    where = random.choice(cells, count, replace=False)
    output[:4, where], output[4 + kinds, where], output[-1, where] = numbers.T, scores, angles
    found = decoded("yolov8-obb", [output], size, iou_threshold=1.0)
    order = np.argsort(-scores, kind="stable")
    assert found.corners is not None
    wanted = [corners_by_hand(numbers[i], angles[i]) for i in order]
    np.testing.assert_allclose(found.corners, np.reshape(wanted, (-1, 4, 2)), atol=1e-3)
    np.testing.assert_allclose(found.boxes[:, :2], np.min(np.reshape(wanted, (-1, 4, 2)), axis=1), atol=1e-3)
    np.testing.assert_allclose(found.boxes[:, 2:], np.max(np.reshape(wanted, (-1, 4, 2)), axis=1), atol=1e-3)
    assert found.classes.tolist() == kinds[order].tolist()


def slanted(*centres: tuple[float, float], angle: float = math.pi / 4, kind: int = 0) -> Array:
    output = np.zeros((7, 2100), np.float32)
    for i, (x, y) in enumerate(centres):
        output[:, i] = [x, y, 100, 10, 0, 0, angle]
        output[4 + kind, i] = 0.9 - 0.1 * i
    return output


def test_slanted_neighbours_stay_and_the_same_thing_twice_goes() -> None:
    # Their upright boxes overlap by two thirds; they themselves not at all.
    assert len(decoded("yolov8-obb", [slanted((100, 100), (110, 90))])) == 2
    assert len(decoded("yolov8-obb", [slanted((100, 100), (101, 101))])) == 1
    both = slanted((100, 100)) + np.roll(slanted((100, 100), kind=1), 1, axis=1)
    assert len(decoded("yolov8-obb", [both])) == 2
    assert len(decoded("yolov8-obb", [slanted((20, 20), (100, 100), (200, 200))], most=2)) == 2


def test_corners_move_to_the_frame() -> None:
    found = decoded("yolov8-obb", [slanted((100, 100), angle=0.0)])
    placed = found.placed(Placement(np.array([[2.0, 0, 0], [0, 3.0, 5]]), 640, 965))
    assert placed.corners is not None
    np.testing.assert_allclose(placed.corners[0], [[100, 290], [300, 290], [300, 320], [100, 320]], atol=1e-3)


def test_rows_of_yolo26_come_back() -> None:
    rows = np.zeros((300, 7), np.float32)
    rows[4] = [100, 50, 40, 20, 0.7, 3, math.pi / 2]
    found = decoded("yolo26-obb", [rows])
    np.testing.assert_allclose(found.boxes, [[90, 30, 110, 70]], atol=1e-4)
    assert found.classes.tolist() == [3]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 has 5 numbers per cell, and a box with one score and an"):
        format_of("yolov8-obb", evidence([(5, 2100)]))
