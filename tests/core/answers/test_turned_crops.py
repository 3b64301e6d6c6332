"""What another task sees of a box: upright, along the sides of a turned one, and the way back to the frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multigraft.answers.crops import On, crop
from multigraft.answers.detections import Detections
from multigraft.tensors.arrays import Array

BOXES = On("boxes")
HEIGHT, WIDTH = 120, 160


def ramp() -> Array:
    """A smooth picture whose red tells x and whose green tells y, in pixels, at the centres of the pixels."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    pixels: Array = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    return pixels


def turned_box(centre: tuple[float, float], size: tuple[float, float], angle: float) -> Detections:
    """One box whose first side points along ``angle`` (radians, clockwise in the picture)."""
    along = np.array([math.cos(angle), math.sin(angle)]) * size[0] / 2
    across = np.array([-math.sin(angle), math.cos(angle)]) * size[1] / 2
    corners = np.array([centre]) + np.array([-along - across, along - across, along + across, -along + across])
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Detections(
        box[None].astype(np.float32), np.ones(1, np.float32), np.zeros(1, np.int32),
        corners=corners[None].astype(np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("angle", [0.0, 0.2, -0.4, math.pi / 2 + 0.1, 3.0])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_a_turned_box_is_cut_along_its_sides(angle: float, margin: float) -> None:
    found = turned_box((80, 60), (50, 20), angle)
    assert found.corners is not None
    part, placement = crop(ramp(), found, 0, On("boxes", margin))
    if angle:
        assert part.shape[:2] == (round(20 * (1 + 2 * margin)), round(50 * (1 + 2 * margin)))
    # Every pixel of the crop shows the place of the frame that the placement says.
    y, x = np.mgrid[0 : part.shape[0], 0 : part.shape[1]] + 0.5
    places = placement.points(np.stack([x, y], axis=2).astype(np.float32))
    np.testing.assert_allclose(part[:, :, :2], places - 0.5, atol=1.01)
    if angle and not margin:
        whole = np.array([[0, 0], [part.shape[1], 0], [part.shape[1], part.shape[0]], [0, part.shape[0]]], np.float32)
        np.testing.assert_allclose(placement.points(whole), found.corners[0], atol=1e-3)


def test_what_is_written_upwards_is_laid_on_its_side() -> None:
    """The last row of the crop is the right side of the box, and its first column the upper one, as np.rot90 has it."""
    found = turned_box((80, 60), (20, 50), 0.0)
    part, _ = crop(ramp(), found, 0, BOXES)
    upright = ramp()[35:85, 70:90]
    assert part.shape == (20, 50, 3)
    np.testing.assert_allclose(part.astype(int), np.rot90(upright).astype(int), atol=1)


def test_boxes_that_are_hardly_turned_are_views_of_the_frame() -> None:
    frame = ramp()
    for angle, size in ((0.0, (50.0, 20.0)), (0.005, (50.0, 20.0)), (0.3, (0.2, 0.2))):
        part, _ = crop(frame, turned_box((80, 60), size, angle), 0, BOXES)
        assert np.shares_memory(part, frame)


def test_a_box_beyond_the_border_shows_the_border() -> None:
    part, placement = crop(ramp(), turned_box((2, 2), (60, 20), 0.5), 0, BOXES)
    assert part.shape == (20, 60, 3)
    assert (placement.width, placement.height) == (WIDTH, HEIGHT)
    assert part[:, 0, :2].max() <= 1


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_corners_that_are_nowhere_leave_the_upright_box(value: float) -> None:
    found = turned_box((80, 60), (50, 20), 0.3)
    assert found.corners is not None
    found.corners[0, 1] = value
    part, _ = crop(ramp(), found, 0, BOXES)
    left, top, right, bottom = found.boxes[0]
    assert part.shape[:2] == (math.ceil(bottom) - math.floor(top), math.ceil(right) - math.floor(left))
