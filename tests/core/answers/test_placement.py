"""Coordinates there and back, whatever was resized, cut or turned."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.placement import Placement

sides = st.integers(1, 900)


@settings(deadline=None)
@given(sides, sides, sides, sides, st.floats(-3, 3), st.floats(0.2, 4), st.integers(0, 2**31))
def test_points_come_back_through_a_turned_crop(
    height: int, width: int, rows: int, columns: int, angle: float, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outer = Placement(np.column_stack([turn, random.uniform(-50, 50, 2)]), width, height)
    inner = Placement.of_regions((height, width), None, None, (rows, columns))
    placement = inner.within(outer)
    points = random.uniform(0, 900, (20, 2)).astype(np.float32)
    there = placement.points(points)
    # Points are float32: what rounds to a pixel's 2**-13 there is stretched on the way back.
    back_scale = np.abs(placement.inverse()[:, :2]).max()
    back = there @ placement.inverse()[:, :2].T + placement.inverse()[:, 2]
    np.testing.assert_allclose(back, points, atol=1e-3 + 1e-6 * back_scale * max(1.0, np.abs(there).max()))


def test_the_whole_input_is_the_whole_frame() -> None:
    placement = Placement.of_regions((480, 640), None, None, (224, 224))
    assert placement.boxes(np.array([[0, 0, 224, 224]], np.float32)).tolist() == [[0, 0, 640, 480]]


def test_the_part_that_was_cut_out_and_the_padding_are_counted() -> None:
    cut = Placement.of_regions((480, 640), (slice(0, 480), slice(80, 560)), None, (240, 240))
    assert cut.points(np.array([[0, 0], [240, 240]], np.float32)).tolist() == [[80, 0], [560, 480]]
    padded = Placement.of_regions((480, 640), None, (slice(40, 280), slice(0, 320)), (320, 320))
    assert padded.points(np.array([[0, 40], [320, 280]], np.float32)).tolist() == [[0, 0], [640, 480]]
    assert padded.boxes(np.array([[-9, 0, 400, 300]], np.float32)).tolist() == [[0, 0, 640, 480]]
