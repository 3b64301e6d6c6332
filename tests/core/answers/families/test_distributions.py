"""YOLOv8's raw heads and NanoDet: distances written as distributions come back as boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import grid_of
from multigraft.answers.families.table import decoder_of
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Array, Float32Array
from tests.core.answers.families.scenes import SEEDS, SIZES, boxes_apart, check, decoded, evidence, format_of, logits


def distribution(distance: float, bins: int) -> Array:
    """Logits whose softmax has that mean: all of it on the two bins around it."""
    low = min(int(distance), bins - 2)
    numbers = np.full(bins, -40.0)
    numbers[low] = np.log(max(1 - (distance - low), 1e-12))
    numbers[low + 1] = np.log(max(distance - low, 1e-12))
    return numbers


def heads(
    random: np.random.Generator,
    size: tuple[int, int],
    strides: tuple[int, ...],
    bins: int,
    classes: int,
    boxes: Float32Array,
    offset: float,
    raw: bool,
) -> tuple[list[Array], list[Array], list[float], list[int]]:
    """Edges (cells, 4 x bins) and scores (cells, classes) per level, and what was written."""
    cells = [int(np.prod(grid_of(size, stride))) for stride in strides]
    edges = [random.normal(0, 1, (n, 4 * bins)) for n in cells]
    kinds = [np.full((n, classes), -8.0 if raw else 1e-3) for n in cells]
    scores, numbers = [], []
    for box in boxes:
        fitting = []
        for level, stride in enumerate(strides):
            rows, columns = grid_of(size, stride)
            for y, x in np.ndindex(rows, columns):
                point = (np.array([x, y]) + offset) * stride
                reach = np.concatenate([point - box[:2], box[2:] - point]) / stride
                if (reach >= 0).all() and (reach <= bins - 1).all():
                    fitting.append((level, y * columns + x, reach))
        assume(fitting)
        level, cell, reach = fitting[random.integers(len(fitting))]
        edges[level][cell] = np.concatenate([distribution(d, bins) for d in reach])
        score, number = float(random.uniform(0.3, 0.99)), int(random.integers(classes))
        kinds[level][cell, number] = logits(score) if raw else score
        scores.append(score)
        numbers.append(number)
    return edges, kinds, scores, numbers


@settings(max_examples=40, deadline=None)
@given(
    SIZES,
    st.sampled_from([(8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32)]),
    st.integers(1, 80),
    st.integers(0, 3),
    st.sampled_from(["together", "apart", "apart, scores first", "with sums"]),
    st.booleans(),
    SEEDS,
)
def test_yolov8_heads_come_back(
    size: tuple[int, int],
    strides: tuple[int, ...],
    classes: int,
    count: int,
    form: str,
    raw: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    boxes = boxes_apart(random, count, size)
    edges, kinds, scores, numbers = heads(random, size, strides, 16, classes, boxes, 0.5, raw)
    outputs = []
    for edge, kind, stride in zip(edges, kinds, strides, strict=True):
        maps = [m.T.reshape(-1, *grid_of(size, stride)).astype(np.float32) for m in (edge, kind)]
        if form == "together":
            outputs.append(np.concatenate(maps))
        elif form == "apart, scores first" and classes != 64:
            outputs += maps[::-1]
        else:
            outputs += [*maps, maps[1].sum(axis=0, keepdims=True)] if form == "with sums" else maps
    check(decoded("yolov8-raw", outputs, size, labels=classes), boxes, scores, numbers)


@settings(max_examples=40, deadline=None)
@given(
    SIZES,
    st.sampled_from([(8, 16, 32), (8, 16, 32, 64)]),
    st.integers(1, 80),
    st.integers(0, 3),
    st.sampled_from(["joined", "joined, cells last", "apart", "apart, maps"]),
    st.booleans(),
    SEEDS,
)
def test_nanodet_heads_come_back(
    size: tuple[int, int],
    strides: tuple[int, ...],
    classes: int,
    count: int,
    form: str,
    raw: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    boxes = boxes_apart(random, count, size)
    # NanoDet-Plus measures from the corner of a cell; PicoDet and NanoDet-m from its middle.
    offset = 0.0 if form.startswith("joined") and len(strides) == 4 else 0.5
    edges, kinds, scores, numbers = heads(random, size, strides, 8, classes, boxes, offset, raw)
    outputs: list[Float32Array] = []
    if form.startswith("joined"):
        joined = np.concatenate([np.concatenate(kinds), np.concatenate(edges)], axis=1).astype(np.float32)
        outputs = [joined.T if form.endswith("last") else joined]
    elif form == "apart":
        outputs = [m.astype(np.float32) for m in (*kinds, *edges)]
    else:
        for edge, kind, stride in zip(edges, kinds, strides, strict=True):
            outputs += [m.T.reshape(-1, *grid_of(size, stride)).astype(np.float32) for m in (kind, edge)]
    check(decoded("nanodet", outputs, size, labels=classes), boxes, scores, numbers)


def test_a_head_of_one_bin_gives_the_distance_itself() -> None:
    outputs = [np.full((7, n, n), -9, np.float32) for n in (40, 20, 10)]
    outputs[1][:, 3, 5] = [1, 2, 3, 4, -9, 9, -9]
    found = decoded("yolov8-raw", outputs, labels=3)
    np.testing.assert_allclose(found.boxes, [[88 - 16, 56 - 32, 88 + 48, 56 + 64]])
    assert found.label(0) == "class 1"


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 1 is 144 x 21 x 21 and no level"):
        format_of("yolov8-raw", evidence([(144, 40, 40), (144, 21, 21), (144, 10, 10)]))
    with pytest.raises(ConfigurationError, match=r"60 numbers per cell are not 64 for four edges"):
        format_of("yolov8-raw", evidence([(60, 40, 40), (60, 20, 20), (60, 10, 10)]))
    with pytest.raises(ConfigurationError, match=r"levels differ in their channels"):
        format_of("yolov8-raw", evidence([(144, 40, 40), (144, 20, 20), (145, 10, 10)]))
    shapes = [(144, 40, 40), (144, 20, 20), (144, 10, 10)]
    with pytest.raises(ConfigurationError, match=r"3 labels, and each level holds 80 classes"):
        decoder_of(format_of("yolov8-raw", evidence(shapes)), ("a", "b", "c"))
