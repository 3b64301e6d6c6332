"""YOLOv8: predictions written by hand come back as boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.answers.decoding.levels import cells_of
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence
from multigraft.errors import ConfigurationError


def evidence(shape: tuple[int, ...], size: tuple[int, int] = (320, 320), labels: tuple[str, ...] = ()) -> Evidence:
    return Evidence((shape,), ("output0",), size, "detection", labels)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(320, 320), (64, 96), (640, 480)]),
    st.integers(1, 80),
    st.integers(0, 5),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_boxes_come_back(size: tuple[int, int], classes: int, count: int, by_cell: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((4 + classes, cells), np.float32)
    where = random.choice(cells, count, replace=False)
    # Side by side, so that none suppresses another.
    boxes = np.array([[9 * i, 5, 9 * i + 8, 20 + i] for i in range(count)], np.float32).reshape(-1, 4)
    for cell, box in zip(where, boxes, strict=True):
        output[:4, cell] = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
        output[4 + random.integers(classes), cell] = random.uniform(0.3, 1)
    given_output = output.T if by_cell else output
    answer = recognised(evidence(given_output.shape, size), "yolov8")
    assert answer is not None
    found = decoder_of(answer, ())([given_output])
    assert isinstance(found, Detections)
    order = np.argsort(found.boxes[:, 0])
    np.testing.assert_allclose(found.boxes[order], boxes, atol=1e-4)
    scores = output[4:].max(axis=0)[where]
    np.testing.assert_allclose(found.scores, np.sort(scores)[::-1], rtol=1e-6)


def test_it_is_recognised_without_being_named() -> None:
    answer = recognised(evidence((84, 2100)))
    assert answer is not None
    assert answer.family == "yolov8"


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 is 84 x 2000 and has to have 2100 cells"):
        recognised(evidence((84, 2000)), "yolov8")
    answer = recognised(evidence((6, 2100)))
    assert answer is not None
    with pytest.raises(ConfigurationError, match=r"3 labels, and output 0 holds 2 classes"):
        decoder_of(answer, ("a", "b", "c"))
