"""Which boxes a task looks at, and through whose boxes it looks at a frame."""

from __future__ import annotations

import numpy as np

from multigraft.answers.crops import On, way_to_crops
from multigraft.answers.detections import Detections


def found(*scores: float) -> Detections:
    boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (len(scores), 1))
    return Detections(
        boxes, np.array(scores, np.float32), np.arange(len(scores), dtype=np.int32), ("cat", "dog", "cow")
    )


def test_the_surest_boxes_are_looked_at_even_if_they_come_from_several_crops() -> None:
    # Of two persons one after the other, each with its surest face first.
    assert On("face", top=2).numbers(found(0.5, 0.4, 0.9)) == [2, 0]
    assert On("face", top=2).numbers(found(0.5, 0.5, 0.5)) == [0, 1]
    assert On("face", labels=("dog", "cow")).numbers(found(0.5, 0.4, 0.9)) == [2, 1]


def test_the_way_to_crops_begins_with_the_outermost_boxes_and_knows_no_deadline() -> None:
    on = {"person": None, "face": On("person", margin=0.2, deadline_us=9.0), "age": On("face", top=1)}
    assert way_to_crops("age", on.get) == (On("person", margin=0.2), On("face", top=1))
    assert way_to_crops("person", on.get) == ()
