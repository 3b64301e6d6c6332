"""How much two answers agree, in what people see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.family import Decoded
from multigraft.answers.matching import frame_score, matches, rule_of
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.text import Text


def boxes(*found: tuple[float, float, float, float, int]) -> Detections:
    rows = np.array([b[:4] for b in found], np.float32).reshape(-1, 4)
    return Detections(
        rows, np.linspace(0.9, 0.5, len(found), dtype=np.float32), np.array([b[4] for b in found], np.int32)
    )


def numbers(*values: int) -> MultiLabel:
    return MultiLabel(np.array(values, np.int32), np.ones(len(values), np.float32))


def direction(*values: float, name: str | None = None) -> Embedding:
    vector = np.array(values, np.float32)
    return Embedding(vector / np.linalg.norm(vector), name)


TWO = boxes((0, 0, 10, 10, 0), (20, 20, 40, 40, 1))
MAP = ClassMap(np.array([[0, 1], [1, 1]], np.int32), ())
PAIRS: dict[str, tuple[Decoded, Decoded, float]] = {
    "the same boxes in another order": (TWO, TWO.chosen([1, 0]), 1.0),
    "one of two": (TWO, TWO.chosen([0]), 2 / 3),
    "another class": (TWO, boxes((0, 0, 10, 10, 1), (20, 20, 40, 40, 1)), 0.5),
    "half beside": (TWO, boxes((6, 0, 16, 10, 0), (20, 20, 40, 40, 1)), 0.5),
    "one box for two": (boxes((0, 0, 9, 9, 0), (0, 0, 10, 10, 0)), boxes((0, 0, 10, 10, 0)), 2 / 3),
    "nothing and nothing": (no_detections(), no_detections(), 1.0),
    "nothing and something": (no_detections(), TWO, 0.0),
    "a letter changed": (Text("grafts", 1), Text("crafts", 1), 5 / 6),
    "a letter more": (Text("graft", 1), Text("grafts", 1), 5 / 6),
    "no text": (Text("", 0), Text("", 0), 1.0),
    "a pixel of four": (MAP, ClassMap(np.array([[0, 1], [1, 0]], np.int32), ()), 0.75),
    "one label of two": (numbers(1, 2), numbers(2, 3), 0.5),
    "no labels": (numbers(), numbers(), 1.0),
    "the same way": (direction(1, 0), direction(1, 0.1), 1.0),
    "another way": (direction(1, 0), direction(1, 1), 0.0),
    "another name": (direction(1, 0, name="a"), direction(1, 0, name="b"), 0.0),
    "near and far": (
        DenseMap(np.array([[[0, 10], [20, 100]]], np.float32)),
        DenseMap(np.array([[[1, 10], [40, 96]]], np.float32)),
        0.75,
    ),
}


@pytest.mark.parametrize(("original", "new", "score"), PAIRS.values(), ids=PAIRS)
def test_a_score_is_the_share_that_is_equal(original: Decoded, new: Decoded, score: float) -> None:
    assert frame_score(original, new) == pytest.approx(score)
    assert frame_score(original, original) == 1.0
    assert rule_of(original) is not None


def test_keypoints_far_off_are_no_match() -> None:
    points = np.array([[[2, 2, 1], [8, 8, 1]], [[25, 25, 1], [35, 35, 0.1]]], np.float32)
    original = dataclasses.replace(TWO, keypoints=points)
    moved = points.copy()
    moved[0, :, 0] += 4
    moved[1, 1] += 30
    assert matches(original, dataclasses.replace(TWO, keypoints=moved)) == [(1, 1)]


def test_a_tolerance_is_the_overlap_that_is_asked_for() -> None:
    moved = boxes((1, 0, 11, 10, 0), (20, 20, 40, 40, 1))
    assert frame_score(TWO, moved, 0.5) == 1.0
    assert frame_score(TWO, moved, 0.9) == 0.5
