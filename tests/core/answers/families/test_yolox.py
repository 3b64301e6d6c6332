"""YOLOX: boxes relative to their cells, written by hand, come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import grid_of
from multigraft.errors import ConfigurationError
from tests.core.answers.families.scenes import (
    SEEDS,
    SIZES,
    boxes_apart,
    centred,
    check,
    decoded,
    evidence,
    format_of,
    logits,
)

STRIDES = (8, 16, 32)


@settings(max_examples=40, deadline=None)
@given(
    SIZES,
    st.integers(1, 80),
    st.integers(0, 5),
    st.sampled_from(["joined", "levels", "decoded"]),
    st.booleans(),
    SEEDS,
)
def test_boxes_come_back(size: tuple[int, int], classes: int, count: int, form: str, raw: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = [np.full((*grid_of(size, s), 5 + classes), 1e-3, np.float32) for s in STRIDES]
    for level in levels:
        level[:, :, 4:] = -8 if raw else 1e-3
    boxes = boxes_apart(random, count, size)
    scores, kinds = [], []
    taken = set()
    for x, y, wide, high in centred(boxes):
        i = int(random.integers(3))
        row, column = int(random.integers(levels[i].shape[0])), int(random.integers(levels[i].shape[1]))
        while (i, row, column) in taken:
            i, row, column = 0, int(random.integers(levels[0].shape[0])), int(random.integers(levels[0].shape[1]))
        taken.add((i, row, column))
        cell, stride = levels[i][row, column], STRIDES[i]
        # Any cell may hold any box: xy is not limited to the cell.
        cell[:4] = [x / stride - column, y / stride - row, np.log(wide / stride), np.log(high / stride)]
        if form == "decoded":
            cell[:4] = [x, y, wide, high]
        sure, chance = random.uniform(0.6, 0.99, 2)
        kind = int(random.integers(classes))
        cell[4], cell[5 + kind] = (logits(sure), logits(chance)) if raw else (sure, chance)
        scores.append(sure * chance)
        kinds.append(kind)
    if form == "levels":
        outputs = [level.transpose(2, 0, 1) for level in levels]
    else:
        outputs = [np.concatenate([level.reshape(-1, 5 + classes) for level in levels])]
    check(decoded("yolox-decoded" if form == "decoded" else "yolox", outputs, size), boxes, scores, kinds)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 is 2101 x 85 and has to have 2100 cells"):
        format_of("yolox", evidence([(2101, 85)]))
    with pytest.raises(ConfigurationError, match=r"output 2 is 84 x 10 x 10 and no level"):
        format_of("yolox", evidence([(85, 40, 40), (85, 20, 20), (84, 10, 10)]))
    with pytest.raises(ConfigurationError, match=r"3 outputs in place of one"):
        format_of("yolox-decoded", evidence([(85, 40, 40), (85, 20, 20), (85, 10, 10)]))
