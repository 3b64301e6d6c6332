"""Non-maximum suppression against its definition, one box at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.geometry.suppression import suppress
from multigraft.tensors.arrays import Array


def by_definition(boxes: Array, scores: Array, classes: Array, threshold: float, most: int) -> list[int]:
    def area(box: Array) -> np.float32:
        return np.float32(max(box[2] - box[0], np.float32(0)) * max(box[3] - box[1], np.float32(0)))

    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        for j in kept:
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            inner = max(width, np.float32(0)) * max(height, np.float32(0))
            if classes[i] == classes[j] and inner > np.float32(threshold) * (area(boxes[i]) + area(boxes[j]) - inner):
                break
        else:
            kept.append(i)
    return kept[:most]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 300),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.3, 0.45, 0.9]),
    st.sampled_from([0, 1, 7, 100, 1000]),
)
def test_what_is_kept_is_what_the_definition_keeps(count: int, seed: int, threshold: float, most: int) -> None:
    random = np.random.default_rng(seed)
    boxes = random.random((count, 4)).astype(np.float32) * 200
    boxes[:, 2:] = boxes[:, :2] + random.random((count, 2)).astype(np.float32) * 60
    scores = random.integers(0, 50, count).astype(np.float32) / 50
    classes = random.integers(0, 3, count).astype(np.int32)
    kept = suppress(boxes, scores, classes, threshold, most)
    assert kept.tolist() == by_definition(boxes, scores, classes, threshold, most)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_no_numbers_do_not_stop_it(value: float) -> None:
    boxes = np.full((9, 4), value, np.float32)
    with np.errstate(invalid="ignore"):
        assert len(suppress(boxes, np.ones(9, np.float32), np.zeros(9, np.int32), 0.5, 100)) <= 9
