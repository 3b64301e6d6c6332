"""YOLO with masks: coefficients and prototypes written by hand come back as the pixels they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import cells_of
from multigraft.answers.families.table import decoder_of
from multigraft.answers.masks import block_of
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Array
from tests.core.answers.families.scenes import SEEDS, boxes_apart, centred, check, decoded, evidence, format_of

SIZE = (64, 96)


def by_definition(logits: Array, size: tuple[int, int]) -> Array:
    """Whether the logits, between the centres of their pixels linear, are above 0 at the centre of each input pixel."""
    rows, columns = logits.shape
    mask = np.zeros(size, np.bool_)
    for y, x in np.ndindex(size):
        v = min(max((y + 0.5) * rows / size[0] - 0.5, 0), rows - 1)
        u = min(max((x + 0.5) * columns / size[1] - 0.5, 0), columns - 1)
        top, left = int(v), int(u)
        bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
        high = logits[top, left] * (1 - (u - left)) + logits[top, right] * (u - left)
        low = logits[bottom, left] * (1 - (u - left)) + logits[bottom, right] * (u - left)
        mask[y, x] = high * (1 - (v - top)) + low * (v - top) > 0
    return mask


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["yolov8-seg", "yolov5-seg", "yolo26-seg"]),
    st.integers(1, 8),
    st.integers(0, 3),
    st.sampled_from([2, 4]),
    st.booleans(),
    SEEDS,
)
def test_masks_come_back(family: str, classes: int, count: int, smaller: int, swapped: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    prototypes = random.normal(0, 1, (6, SIZE[0] // smaller, SIZE[1] // smaller)).astype(np.float32)
    weights = random.normal(0, 1, (count, 6)).astype(np.float32)
    boxes, scores = boxes_apart(random, count, SIZE), random.uniform(0.4, 1, count)
    kinds = random.integers(0, classes, count)
    cells = {"yolov8-seg": cells_of(SIZE, (8, 16, 32)), "yolov5-seg": cells_of(SIZE, (8, 16, 32), 3)}.get(family, 300)
    where = random.choice(cells, count, replace=False)
    if family == "yolo26-seg":
        output = np.zeros((300, 12), np.float32)
        output[where] = np.concatenate([boxes, np.stack([scores, kinds], axis=1), weights], axis=1)
    else:
        before = 5 if family == "yolov5-seg" else 4
        output = np.zeros((cells, before + classes + 6), np.float32)
        output[where, :4], output[where, 4] = centred(boxes), 1
        output[where, before:-6] = 0
        output[where, before + kinds], output[where, -6:] = scores, weights
        output = output if family == "yolov5-seg" else output.T
    found = decoded(family, [prototypes, output] if swapped else [output, prototypes], SIZE)
    numbers = check(found, boxes, scores, kinds)
    assert found.masks is not None
    for i in range(count):
        whole = by_definition(np.tensordot(weights[i], prototypes, axes=1), SIZE)
        expected = whole[block_of(boxes[i])]
        # Rounding may turn the pixels whose sum is 0 but for it.
        assert found.masks[numbers[i]].shape == expected.shape
        assert (found.masks[numbers[i]] != expected).mean() < 0.01


def test_masks_end_with_the_box_and_the_input() -> None:
    output = np.zeros((4 + 1 + 2, 126), np.float32)
    output[:, 0] = [90, 10, 40, 30, 0.9, 1, 0]
    prototypes = np.ones((2, 16, 24), np.float32)
    found = decoded("yolov8-seg", [output, prototypes], SIZE)
    assert found.boxes.tolist() == [[70, 0, 96, 25]]
    assert found.masks is not None
    assert found.masks[0].shape == (25, 26)
    assert found.masks[0].all()


def test_masks_of_a_confused_network_do_not_fill_the_memory() -> None:
    rows = np.zeros((300, 6 + 2), np.float32)
    rows[:] = [0, 0, 96, 64, 0.9, 0, 1, 0]
    found = decoded("yolo26-seg", [rows, np.ones((2, 16, 24), np.float32)], SIZE)
    assert found.masks is not None
    assert 0 < sum(mask.size for mask in found.masks) <= 16 * 64 * 96
    assert len(found.masks) == len(found)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"1 outputs in place of predictions and prototypes"):
        format_of("yolov8-seg", evidence([(116, 2100)]))
    with pytest.raises(ConfigurationError, match=r"output 0 has 36 numbers per cell, of which 32 are coefficients"):
        format_of("yolov8-seg", evidence([(36, 2100), (32, 80, 80)]))
    with pytest.raises(ConfigurationError, match=r"2 labels, and output 0 holds 80 classes"):
        decoder_of(format_of("yolov8-seg", evidence([(116, 2100), (32, 80, 80)])), ("a", "b"))
