"""Maps of a network at the pixels of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.class_map import NOT_SEEN, ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.placement import Placement

sides = st.integers(1, 60)


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))
def test_a_map_of_the_whole_frame_repeats_its_pixels(
    rows: int, columns: int, down: int, across: int, seed: int
) -> None:
    classes = np.random.default_rng(seed).integers(0, 9, (rows, columns)).astype(np.int32)
    placement = Placement.of_regions((rows * down, columns * across), None, None, (2 * rows, 2 * columns))
    placed = ClassMap(classes, (), (2 * rows, 2 * columns)).placed(placement)
    np.testing.assert_array_equal(placed.classes, classes.repeat(down, axis=0).repeat(across, axis=1))


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_padding_is_not_shown_and_what_was_cut_away_is_not_known(turn: float) -> None:
    classes = np.full((8, 8), 7, np.int32)
    classes[2:6] = 1
    padded = Placement.of_regions((40, 80), None, (slice(2, 6), slice(0, 8)), (8, 8))
    shown = ClassMap(classes, ("a", "b")).placed(padded)
    assert shown.classes.shape == (40, 80) and (shown.classes == 1).all()
    assert shown.to_json() == {"shape": [40, 80], "pixels": {"b": 3200}}
    values = np.where(classes == 1, 5.0, 100.0).astype(np.float32)[None]
    assert (DenseMap(values).placed(padded).values == 5).all()
    cut = Placement.of_regions((40, 80), (slice(0, 40), slice(20, 60)), None, (8, 8))
    if turn:
        around = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]])
        cut = cut.within(Placement(around, 80, 40))
    seen = ClassMap(np.ones((8, 8), np.int32), ()).placed(cut).classes
    known = DenseMap(np.ones((2, 8, 8), np.float32)).placed(cut).values
    back = cut.inverse()
    for y, x in np.ndindex(40, 80):
        inner = back @ (x + 0.5, y + 0.5, 1)
        is_seen = bool(((inner >= 0) & (inner <= 8)).all())
        assert seen[y, x] == (1 if is_seen else NOT_SEEN)
        assert (known[:, y, x] == 1).all() if is_seen else np.isnan(known[:, y, x]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.floats(-0.7, 0.7), st.integers(0, 2**31))
def test_a_slope_stays_a_slope(rows: int, columns: int, turn: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, c = random.uniform(-2, 2, 3)
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    values = (a * x + b * y + c).astype(np.float32)[None]
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * random.uniform(1, 6)
    placement = Placement(np.column_stack([linear, random.uniform(0, 20, 2)]), 50, 40)
    placed = DenseMap(values).placed(placement).values[0]
    back = placement.inverse()
    fy, fx = np.mgrid[0:40, 0:50] + 0.5
    inner = np.stack([fx, fy], axis=-1) @ back[:, :2].T + back[:, 2]
    # Between the outermost centres, of pixels whose centre is on the frame.
    corners = np.array([[0, 0], [50, 0], [0, 40], [50, 40]]) @ back[:, :2].T + back[:, 2]
    low, high = corners.min(axis=0) + 1, corners.max(axis=0) - 1
    within = ((inner >= np.maximum(low, 0.5)) & (inner <= np.minimum(high, [columns - 0.5, rows - 0.5]))).all(axis=-1)
    np.testing.assert_allclose(placed[within], (inner @ (a, b) + c)[within], atol=1e-3)


def test_a_dense_map_says_its_range_and_nothing_where_it_knows_nothing() -> None:
    values = np.array([[[1, 2], [3, np.nan]]], np.float32)
    assert DenseMap(values).to_json() == {"shape": [1, 2, 2], "least": 1.0, "mean": 2.0, "most": 3.0}
    empty = DenseMap(np.full((1, 1, 1), np.nan, np.float32)).to_json()
    assert empty == {"shape": [1, 1, 1], "least": None, "mean": None, "most": None}
