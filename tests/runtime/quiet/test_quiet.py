"""Calm answers: what is constant passes, what is seen once does not, and memory has an end."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.per_box import PerBox
from multigraft.answers.text import Text
from multigraft.errors import UsageError
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.quiet.events import Events
from multigraft.runtime.quiet.hysteresis import Hysteresis
from multigraft.runtime.quiet.identities import Identities
from multigraft.runtime.quiet.majority import Majority
from multigraft.runtime.quiet.steady import Rule, Steady


@given(st.integers(1, 30), st.integers(0, 5))
def test_a_constant_stream_is_settled_after_the_frames(frames: int, value: int) -> None:
    majority = Majority[int](frames)
    shown = [majority.step(value) for _ in range(3 * frames)]
    assert shown[frames - 1 :] == [value] * (2 * frames + 1)


@given(st.integers(3, 30), st.integers(0, 80))
def test_a_single_outlier_never_shows(frames: int, at: int) -> None:
    majority = Majority[int](frames)
    assert 1 not in [majority.step(int(number == at)) for number in range(100)]


@given(st.integers(1, 9), st.lists(st.integers(0, 3), max_size=60))
def test_what_shows_is_what_more_than_half_said_last(frames: int, values: list[int]) -> None:
    majority, settled = Majority[int](frames), None
    for end in range(1, len(values) + 1):
        window = values[max(0, end - frames) : end]
        settled = next((v for v in window if 2 * window.count(v) > frames), settled)
        assert majority.step(values[end - 1]) == settled
        assert len(majority._last) + len(majority._counts) <= 2 * frames


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=50))
def test_scores_between_the_thresholds_change_nothing(scores: list[float]) -> None:
    state, before = Hysteresis(0.6, 0.4), False
    for score in scores:
        now = state.step(score)
        assert now == (True if score >= 0.6 else False if score < 0.4 else before)
        before = now


@pytest.mark.parametrize(("enter", "leave"), [(0.4, 0.6), (math.nan, 0.1), (0.5, math.nan)])
def test_thresholds_the_wrong_way_round_are_refused(enter: float, leave: float) -> None:
    with pytest.raises(UsageError):
        Hysteresis(enter, leave)


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores, np.float32), np.array(classes, np.int32), ("cat", "dog"))


def test_a_class_holds_with_its_last_score_while_another_flickers() -> None:
    steady = Steady({"a": Rule(frames=3)})
    cat, dog = Classification("cat", 0, 0.9), Classification("dog", 1, 0.8)
    shown = [steady.step({"a": answer, "b": answer}) for answer in (cat, cat, dog, cat, dog, dog)]
    assert [one.get("a") for one in shown] == [None, cat, cat, cat, dog, dog]
    assert shown[0]["b"] is cat, "no rule is for it"


def test_boxes_of_a_class_come_and_go_with_its_best_score() -> None:
    steady = Steady({"a": Rule(1, 0.6, 0.3)})
    box = [0.0, 0.0, 5.0, 5.0]
    streams = [[0.5, 0.2], [0.7, 0.2], [0.4, 0.35], [0.2, 0.1], [0.5, 0.5]]
    kept = []
    for scores in streams:
        answer = steady.step({"a": found([box, box], scores, [0, 0])})["a"]
        assert isinstance(answer, Detections)
        kept.append(len(answer))
    assert kept == [0, 2, 2, 0, 0]
    assert steady._classes["a"] == {}, "what is not there takes no memory"
    labels = steady.step({"a": MultiLabel(np.array([1], np.int32), np.array([0.9], np.float32))})["a"]
    assert isinstance(labels, MultiLabel)
    assert labels.classes.tolist() == [1]


def test_what_was_said_of_a_box_stays_with_it() -> None:
    steady = Steady({"a": Rule(1, 0.6, 0.3)}, {"b": "a", "c": "a", "d": "c"})
    box = [0.0, 0.0, 5.0, 5.0]
    animals = found([box, box, box], [0.5, 0.9, 0.8], [0, 1, 1])
    parts = dataclasses.replace(animals, parents=np.array([0, 1, 2], np.int32))
    said = tuple(Text(name, 1.0) for name in ("low", "high", "middle"))
    answers: dict[str, Answer] = {
        "d": PerBox("c", (0, 1, 2), said),
        "b": PerBox("a", (0, 1, 2), said),
        "c": parts,
        "a": animals,
    }
    calm = steady.step(answers)
    assert list(calm) == list(answers)
    assert calm["b"] == PerBox("a", (0, 1), said[1:])
    assert calm["d"] == PerBox("c", (0, 1), said[1:])
    assert isinstance(calm["c"], Detections)
    assert calm["c"].parents is not None
    assert calm["c"].parents.tolist() == [0, 1]
    assert calm["c"].scores.tolist() == pytest.approx([0.9, 0.8])


def test_events_say_who_came_and_who_left() -> None:
    events = Events(patience=1)
    one = Classification("cat", 0, 0.9)
    streams: list[dict[str, Answer]] = [{"a": one}, {"a": one}, {"a": no_detections()}, {}, {"a": no_detections()}]
    said = [events.step(answers) for answers in streams]
    appears = {"event": "appears", "task": "a", "label": "cat"}
    assert said == [[appears], [], [], [], [appears | {"event": "vanishes"}]]


def test_things_keep_their_numbers_and_new_ones_get_new_ones() -> None:
    identities = Identities(kept_frames=3)
    seen = []
    for frame in range(12):
        boxes: list[list[float]] = [
            [10 + 4 * frame, 10, 60 + 4 * frame, 100],
            [300 - 4 * frame, 50, 360 - 4 * frame, 150],
        ]
        chosen = [0] if frame in (5, 6) else [] if frame > 8 else [1, 0]
        answer = identities.step({"a": found([boxes[i] for i in chosen], [0.9] * len(chosen), [0] * len(chosen))})["a"]
        assert isinstance(answer, Detections)
        assert answer.ids is not None
        seen.append(dict(zip(chosen, answer.ids.tolist(), strict=True)))
    assert {tuple(sorted(one.items())) for one in seen} == {((0, 2), (1, 1)), ((0, 2),), ()}
    later = identities.step({"a": found([[10, 10, 60, 100]], [0.9], [0])})["a"]
    assert isinstance(later, Detections)
    assert later.ids is not None
    assert later.ids[0] > 2, "it was away for too long, elsewhere"


def test_two_classes_are_two_things_and_no_number_makes_it_fail() -> None:
    identities = Identities(kept_frames=2)
    box = [0.0, 0.0, 10.0, 10.0]
    odd = [[math.nan, 0.0, 1.0, 1.0], [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 1e6, 1e6]]
    answer = identities.step({"a": found([box, box, *odd], [0.9, 0.9, 0.9, 0.9, math.nan], [0, 1, 0, 0, 0])})["a"]
    assert isinstance(answer, Detections)
    assert answer.ids is not None
    assert len(set(answer.ids[:2].tolist())) == 2
    assert answer.ids[2:].tolist() == [-1, -1, -1]
    for _ in range(5):
        identities.step({"a": no_detections()})
    assert not identities._trackers, "memory ends with what it is for"
    assert not identities._numbers
