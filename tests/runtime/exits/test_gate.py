"""A frame that says nothing new repeats the last answer, and nothing behind the gate is run."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.turns import Turn
from tests.exit_bundle import EXIT, build, policy

Picture = npt.NDArray[np.uint8]
EQUAL, ANY = 0.0, 1e6


def frames(count: int, seed: int = 1) -> list[Picture]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8))


def index(engine: Engine, frame: Picture) -> int:
    answer = engine.run(frame, ("garment",)).answers["garment"]
    assert isinstance(answer, Classification)
    return answer.index


@pytest.mark.parametrize("float32", [False, True])
def test_only_a_frame_that_differs_runs_to_the_end(float32: bool) -> None:
    engine = Engine(build(policy(EQUAL, rule="change"), ("garment",), float32))
    whole = Engine(engine.bundle, exits=False)
    one, other = frames(2)
    for frame, is_repeated in ((one, False), (one, True), (other, False), (other, True), (one, False)):
        result = engine.run(frame)
        assert list(result.latency_us) == ["trunk", EXIT, *([] if is_repeated else ["head_garment"])]
        assert result.exits == ({"garment": EXIT} if is_repeated else {})
        assert result.answers == whole.run(frame).answers


def test_the_answer_is_that_of_the_last_frame_that_was_answered_in_full() -> None:
    engine = Engine(build(policy(ANY, rule="change"), ("garment",)))
    whole = Engine(engine.bundle, exits=False)
    some = frames(30)
    classes = [index(whole, frame) for frame in some]
    assert len(set(classes)) > 1
    assert [index(engine, frame) for frame in some] == [classes[0]] * len(some)


def test_a_scene_that_drifts_away_is_looked_at_again() -> None:
    """Steps are small, and the frame they began with is soon far away."""
    drift = [np.full((28, 28), level, np.uint8) for level in range(0, 256, 4)]
    probe = Engine(build(policy(EQUAL, rule="change"), ("garment",), float32=True))
    _, array = probe._tensor_of(probe.gates[EXIT].policy.output)
    seen = []
    for frame in drift:
        probe.run(frame, ("garment",))
        seen.append(array.reshape(-1).copy())
    steps = [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(seen)]
    distance = 1.5 * max(steps)
    assert np.linalg.norm(seen[-1] - seen[0]) > distance
    engine = Engine(build(policy(distance, rule="change"), ("garment",), float32=True))
    looked = ["head_garment" in engine.run(frame).latency_us for frame in drift]
    assert 1 < sum(looked) < len(drift)


def test_frames_of_others_are_no_part_of_the_stream() -> None:
    engine = Engine(build(policy(EQUAL, rule="change"), ("garment",)))
    one, other = frames(2)
    engine.run(one)
    assert engine.run(other, exits=False).exits is None
    assert engine.run(one).exits == {"garment": EXIT}
    assert engine.gates[EXIT].reached == 2


def test_other_tasks_are_answered_on_every_frame() -> None:
    engine = Engine(build(policy(EQUAL, rule="change")))
    (frame,) = frames(1)
    engine.run(frame)
    assert list(engine.run(frame).latency_us) == ["trunk", EXIT, "head_digit"]


def test_a_gate_that_repeats_wrong_answers_is_closed_and_begins_anew_when_it_is_opened() -> None:
    engine = Engine(build(policy(ANY, rule="change", audited=0.5), ("garment",)))
    gate, told = engine.gates[EXIT], list[str]()
    gate.tell = told.append
    whole = Engine(engine.bundle, exits=False)
    for frame in frames(400):
        engine.run(frame)
        if not gate.is_open:
            break
    assert not gate.is_open and f"exit {EXIT} of task garment is closed" in told[0]
    assert engine.exits_to_json()[EXIT]["disagreed"] > 0
    some = frames(20, seed=9)
    assert [index(engine, frame) for frame in some] == [index(whole, frame) for frame in some]
    gate.reopen()
    assert engine.run(some[0]).exits == {}, "what was answered before the pause is long past"


def test_what_is_audited_is_answered_in_full() -> None:
    engine = Engine(build(policy(ANY, rule="change", audited=1.0, max_disagreement=0.9), ("garment",)))
    whole = Engine(engine.bundle, exits=False)
    for frame in frames(30):
        assert index(engine, frame) == index(whole, frame)
    assert engine.gates[EXIT].audit.audited == 29


def test_a_gate_in_doubt_is_tested_on_the_answer_that_it_would_repeat() -> None:
    """Audited frames that take the place of the last answer would hide that it was repeated for too long."""
    engine = Engine(build(policy(ANY, rule="change", audited=0.05, max_disagreement=0.2), ("garment",)))
    gate, whole = engine.gates[EXIT], Engine(engine.bundle, exits=False)
    some = frames(30)
    classes = [index(whole, frame) for frame in some]
    one = some[0]
    other = next(frame for frame, c in zip(some, classes, strict=True) if c != classes[0])
    index(engine, one)
    for _ in range(2):
        gate.audited(False)
    assert gate.audited_share == 1
    before = gate.audit.disagreed
    for _ in range(3):
        assert index(engine, other) == index(whole, other)
    assert gate.is_open and gate.audit.disagreed == before + 3


def test_tasks_at_rates_of_their_own_repeat_too() -> None:
    engine = Engine(build(policy(EQUAL, rule="change")))
    (frame,) = frames(1)
    first = Turn(engine, frame)
    answer = first.ask("garment")
    again = Turn(engine, frame)
    assert again.ask("garment") == answer
    assert (first.exits, again.exits) == ({}, {"garment": EXIT})
