"""CenterNet: peaks written into a heat map come back as boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array
from tests.core.answers.families.scenes import (
    SEEDS,
    boxes_apart,
    centred,
    check,
    decoded,
    evidence,
    format_of,
    logits,
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(128, 128), (64, 256)]),
    st.sampled_from([2, 4, 8]),
    st.integers(1, 20),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    SEEDS,
)
def test_boxes_come_back(
    size: tuple[int, int], stride: int, classes: int, count: int, has_offsets: bool, raw: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows, columns = size[0] // stride, size[1] // stride
    heat = np.full((classes, rows, columns), -9 if raw else 1e-3, np.float32)
    sizes, offsets = random.normal(0, 1, (2, 2, rows, columns)).astype(np.float32)
    boxes = boxes_apart(random, count, size)
    kinds, scores = random.integers(0, classes, count), random.uniform(0.5, 0.99, count)
    for i, (x, y, wide, high) in enumerate(centred(boxes)):
        column, row = int(x / stride), int(y / stride)
        if not has_offsets:
            # Without offsets centres are those of cells.
            boxes[i, [0, 2]] += (column + 0.5) * stride - x
            boxes[i, [1, 3]] += (row + 0.5) * stride - y
        heat[kinds[i], row, column] = logits(scores[i]) if raw else scores[i]
        # What surrounds a peak is high, too, and no answer.
        if column + 1 < columns and row + 1 < rows:
            heat[kinds[i], row + 1, column + 1] = logits(scores[i] - 0.1) if raw else scores[i] - 0.1
        sizes[:, row, column] = wide / stride, high / stride
        offsets[:, row, column] = x / stride - column, y / stride - row
    outputs: list[Float32Array] = [heat, sizes, offsets] if has_offsets else [heat, sizes]
    check(decoded("centernet", outputs, size), boxes, scores, kinds)


def test_of_equal_neighbours_there_is_one_peak() -> None:
    heat = np.zeros((2, 32, 32), np.float32)
    heat[0, 5, 5:9] = 0.5
    heat[0, 6, 5:9] = 0.5
    heat[1, 5, 6] = 0.5
    sizes = np.ones((2, 32, 32), np.float32)
    found = decoded("centernet", [heat, sizes], (128, 128))
    assert sorted(found.classes.tolist()) == [0, 1]


def test_a_map_that_is_high_everywhere_gives_no_more_than_asked_for() -> None:
    heat = np.random.default_rng(0).uniform(0.5, 1, (20, 160, 160)).astype(np.float32)
    sizes = np.ones((2, 160, 160), np.float32)
    found = decoded("centernet", [heat, sizes], (640, 640), most=50)
    assert len(found) == 50
    assert found.scores[0] == heat.max()


def test_outputs_are_told_by_their_names_in_any_order() -> None:
    shapes = [(2, 32, 32), (2, 32, 32), (80, 32, 32)]
    answer = format_of("auto", evidence(shapes, (128, 128), output_names=("reg", "wh", "hm")))
    assert answer.roles == {"heat": 2, "sizes": 1, "offsets": 0}
    answer = format_of(
        "auto", evidence(shapes, (128, 128), output_names=("net/offset_2d:0", "net/size:0", "net/heat_map:0"))
    )
    assert answer.roles == {"heat": 2, "sizes": 1, "offsets": 0}


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 1 is 2 x 31 x 32 and no map like the others"):
        format_of("centernet", evidence([(80, 32, 32), (2, 31, 32), (2, 32, 32)], (128, 128)))
    with pytest.raises(ConfigurationError, match=r"output 1 has 3 channels, and sizes have 2"):
        format_of("centernet", evidence([(80, 32, 32), (3, 32, 32), (2, 32, 32)], (128, 128)))
