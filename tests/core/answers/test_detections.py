"""What becomes of boxes and masks on their way to a frame."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.detections import Detections
from multigraft.answers.masks import block_of
from multigraft.answers.placement import Placement


def test_a_mask_has_the_pixels_that_its_box_touches() -> None:
    assert block_of(np.array([1.2, 3.0, 4.0, 5.1], np.float32)) == (slice(3, 6), slice(1, 4))
    assert block_of(np.array([1, 1, 1, 5], np.float32)) == (slice(0, 0), slice(0, 0))
    assert block_of(np.array([1, np.nan, 3, 5], np.float32)) == (slice(0, 0), slice(0, 0))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(8, 40),
    st.integers(8, 40),
    st.floats(0.3, 4),
    st.floats(0.3, 4),
    st.sampled_from([0.0, 0.0, np.pi / 2, 0.4]),
    st.integers(0, 2**31),
)
def test_a_placed_mask_covers_the_pixels_of_its_placed_box_and_each_is_looked_up(
    height: int, width: int, x: float, y: float, angle: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    left, top = random.uniform(0, width / 2), random.uniform(0, height / 2)
    box = np.array([[left, top, random.uniform(left + 1, width), random.uniform(top + 1, height)]], np.float32)
    rows, columns = block_of(box[0])
    mask = random.random((rows.stop - rows.start, columns.stop - columns.start)) < 0.5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([x, y])
    placement = Placement(np.column_stack([turn, random.uniform(-9, 9, 2)]), 50, 60)
    found = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32), masks=(mask,))
    placed = found.placed(placement)
    assert placed.masks is not None
    frame_rows, frame_columns = block_of(placed.boxes[0])
    assert placed.masks[0].shape == (frame_rows.stop - frame_rows.start, frame_columns.stop - frame_columns.start)
    back = placement.inverse()
    for r, c in np.ndindex(placed.masks[0].shape):
        u, v = back[:, :2] @ (frame_columns.start + c + 0.5, frame_rows.start + r + 0.5) + back[:, 2]
        if min(abs(u - round(u)), abs(v - round(v))) < 1e-6:
            continue
        row, column = int(np.floor(v)) - rows.start, int(np.floor(u)) - columns.start
        inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
        assert placed.masks[0][r, c] == (inside and mask[row, column])


def test_a_mask_twice_as_large_is_each_pixel_four_times() -> None:
    mask = np.array([[True, False], [False, True]])
    found = Detections(
        np.array([[1, 1, 3, 3]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32), masks=(mask,)
    )
    placed = found.placed(Placement.of_regions((20, 20), None, None, (10, 10)))
    assert placed.masks is not None
    assert placed.boxes.tolist() == [[2, 2, 6, 6]]
    assert placed.masks[0].tolist() == np.kron(mask, np.ones((2, 2), np.bool_)).tolist()


def test_what_is_no_number_is_no_answer_and_what_is_far_away_stays_a_number() -> None:
    boxes = np.array([[0, 0, 9, 9], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [0, 0, 3e38, 9], [1, 1, 2, 2]], np.float32)
    scores = np.array([0.5, 1, 1, 0.75, np.inf], np.float32)
    found = Detections(boxes, scores, np.arange(5, dtype=np.int32))
    for kept in (found.suppressed(0.5, 10), found.best(10)):
        assert kept.classes.tolist() == [3, 0]
        with np.errstate(all="raise"):
            placed = kept.placed(Placement.of_regions((20, 20), None, None, (10, 10)))
        json.dumps(placed.to_json(), allow_nan=False)


def test_scores_of_more_than_1_by_rounding_are_1() -> None:
    found = Detections(np.zeros((1, 4), np.float32), np.full(1, 1.004, np.float32), np.zeros(1, np.int32))
    assert found.best(1).scores.tolist() == [1]
