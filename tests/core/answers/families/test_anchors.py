"""YOLOv3 to v7: boxes written into anchors by hand come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import cells_of, grid_of
from multigraft.answers.families.table import decoder_of
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Array
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
ANCHORS = {
    "yolov5-raw": [
        [(10, 13), (16, 30), (33, 23)],
        [(30, 61), (62, 45), (59, 119)],
        [(116, 90), (156, 198), (373, 326)],
    ],
    "yolov7-raw": [
        [(12, 16), (19, 36), (40, 28)],
        [(36, 75), (76, 55), (72, 146)],
        [(142, 110), (192, 243), (459, 401)],
    ],
}
ANCHORS["yolov3-raw"] = ANCHORS["yolov5-raw"]
ANCHORS["yolov4-raw"] = ANCHORS["yolov7-raw"]
STRETCH = {8: 1.2, 16: 1.1, 32: 1.05}


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 80), st.integers(0, 5), st.booleans(), SEEDS)
def test_decoded_boxes_come_back(size: tuple[int, int], classes: int, count: int, by_cell: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = cells_of(size, STRIDES, 3)
    output = np.zeros((cells, 5 + classes), np.float32)
    boxes = boxes_apart(random, count, size)
    where, kinds = random.choice(cells, count, replace=False), random.integers(0, classes, count)
    output[where, :4] = centred(boxes)
    output[where, 4] = random.uniform(0.6, 1, count)
    output[where, 5 + kinds] = random.uniform(0.6, 1, count)
    scores = output[where, 4] * output[where, 5 + kinds]
    check(decoded("yolov5", [output if by_cell else output.T], size), boxes, scores, kinds)


def test_a_sure_object_of_no_sure_class_is_none() -> None:
    output = np.zeros((6300, 7), np.float32)
    output[5] = [50, 50, 20, 20, 0.9, 0.2, 0.1]
    assert len(decoded("yolov5", [output])) == 0
    output[5, 5] = 0.3
    assert len(decoded("yolov5", [output])) == 1


def raw_of(family: str, size: tuple[int, int], box: Array, stride: int, anchor: int) -> tuple[int, int, list[float]]:
    """Row, column and the raw four numbers of a box (corners): the published formulas solved for them."""
    x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    column, row = int(x), int(y)
    wide, high = ANCHORS[family][STRIDES.index(stride)][anchor]
    shares = np.array([(box[2] - box[0]) / wide, (box[3] - box[1]) / high])
    inner = np.clip([x - column, y - row], 1e-3, 1 - 1e-3)
    if family in ("yolov5-raw", "yolov7-raw"):
        return row, column, [*logits((inner + 0.5) / 2), *logits(np.sqrt(shares) / 2)]
    k = STRETCH[stride] if family == "yolov4-raw" else 1.0
    return row, column, [*logits((inner + (k - 1) / 2) / k), *np.log(shares)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ANCHORS)), SIZES, st.integers(1, 8), st.integers(1, 3), st.booleans(), SEEDS)
def test_raw_boxes_come_back(
    family: str, size: tuple[int, int], classes: int, count: int, has_axis: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    heads = {s: np.full((3, *grid_of(size, s), 5 + classes), -9, np.float32) for s in STRIDES}
    boxes = boxes_apart(random, count, size)
    scores, kinds = [], []
    for box in boxes:
        wide, high = box[2] - box[0], box[3] - box[1]
        near = [
            (stride, anchor)
            for i, stride in enumerate(STRIDES)
            for anchor, (w, h) in enumerate(ANCHORS[family][i])
            if 0.1 < wide / w < 3.8 and 0.1 < high / h < 3.8
        ]
        stride, anchor = near[random.integers(len(near))]
        row, column, numbers = raw_of(family, size, box, stride, anchor)
        kind, chance, sure = int(random.integers(classes)), *random.uniform(0.6, 0.99, 2)
        cell = heads[stride][anchor, row, column]
        cell[:4], cell[4], cell[5 + kind] = numbers, logits(sure), logits(chance)
        scores.append(sure * chance)
        kinds.append(kind)
    # Levels in any order: they are told by their size.
    outputs = [heads[int(s)] for s in random.permutation(STRIDES)]
    if not has_axis:
        outputs = [o.transpose(0, 3, 1, 2).reshape(-1, *o.shape[1:3]) for o in outputs]
    check(decoded(family, outputs, size), boxes, scores, kinds, tolerance=0.05)


def test_heads_that_a_sigmoid_has_seen_are_told_by_their_values() -> None:
    heads = [np.zeros((18, n, n), np.float32) for n in (40, 20, 10)]
    # Centre of cell (3, 4) of the finest level, twice as large as its first anchor, 10 x 13.
    heads[0][:6, 3, 4] = [0.5, 0.5, np.sqrt(2) / 2, np.sqrt(2) / 2, 0.9, 0.8]
    found = decoded("yolov5-raw", heads)
    np.testing.assert_allclose(found.boxes, [[36 - 10, 28 - 13, 36 + 10, 28 + 13]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.72], atol=1e-5)


def test_tiny_networks_of_two_levels_have_anchors_of_their_own() -> None:
    heads = [np.full((18, n, n), -9, np.float32) for n in (20, 10)]
    heads[1][6:12, 2, 2] = [0, 0, 0, 0, 5, 5]
    for family, scale in (("yolov3-raw", 1), ("yolov4-raw", 1)):
        found = decoded(family, heads)
        np.testing.assert_allclose(found.boxes, [[80 - 67.5, 80 - 84.5, 80 + 67.5, 80 + 84.5]], atol=1e-3 * scale)


def test_own_anchors_replace_the_published_ones() -> None:
    heads = [np.full((18, n, n), -9, np.float32) for n in (40, 20, 10)]
    heads[0][:6, 0, 0] = [0, 0, 0, 0, 9, 9]
    own = ((20.0, 6.0) * 3,) * 3
    np.testing.assert_allclose(decoded("yolov5-raw", heads, anchors=own).boxes, [[-6, 1, 14, 7]], atol=1e-3)
    given_levels = evidence(heads)
    with pytest.raises(ConfigurationError, match=r"needs as many anchors lists"):
        decoder_of(format_of("yolov5-raw", given_levels, anchors=own[:2]), ())


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 is 6000 x 85 and has to have 6300 cells"):
        format_of("yolov5", evidence([(6000, 85)]))
    with pytest.raises(ConfigurationError, match=r"output 1 is 255 x 21 x 21 and no level of 3 anchors"):
        format_of("yolov5-raw", evidence([(255, 40, 40), (255, 21, 21), (255, 10, 10)]))
    with pytest.raises(ConfigurationError, match=r"2 labels, and output 0 holds 80 classes"):
        decoder_of(format_of("yolov5", evidence([(6300, 85)])), ("a", "b"))


def test_old_exports_with_their_raw_heads_beside_the_decoded_output_are_read() -> None:
    shapes = [(3, 40, 40, 85), (6300, 85), (3, 20, 20, 85), (3, 10, 10, 85)]
    assert format_of("auto", evidence(shapes, labels=80)).roles == {"predictions": 1}
