"""A frame that is far from all that the trunk has seen is answered with unknown, and nothing behind the gate is run."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.manifest import FAR_SCHEMA, Manifest
from multigraft.exits.far import squared
from multigraft.runtime import Engine
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.turns import Turn
from tests.exit_bundle import EXIT, LOGITS, build, policy

Picture = npt.NDArray[np.uint8]


def frames(count: int, seed: int = 1) -> list[Picture]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8))


def is_unknown(answer: Answer) -> bool:
    assert isinstance(answer, Classification)
    return (answer.label, answer.index) == ("unknown", -1)


def halving(some: list[Picture], float32: bool = False, allowed: float = 0.01) -> Engine:
    """An engine that calls the farther half of these frames unknown."""
    probe = Engine(build(policy(1e9, rule="far"), float32=float32))
    spec, array = probe._tensor_of(LOGITS)
    seen = []
    for frame in some:
        probe.run(frame)
        seen.append(np.sqrt(squared(array, spec)) * (1 if float32 else spec.scale or 1))
    return Engine(build(policy(float(np.median(seen)), rule="far", max_disagreement=allowed), float32=float32))


@pytest.mark.parametrize("float32", [False, True])
def test_far_frames_are_unknown_and_the_others_are_answered_in_full(float32: bool) -> None:
    some = frames(20)
    engine = halving(some, float32)
    whole, unknown = Engine(engine.bundle, exits=False), 0
    for frame in some:
        result, right = engine.run(frame), whole.run(frame)
        is_far = is_unknown(result.answers["garment"])
        assert result.exits == ({"garment": EXIT} if is_far else {})
        assert ("head_garment" in result.latency_us) is not is_far
        assert result.answers["digit"] == right.answers["digit"]
        assert is_far or result.answers["garment"] == right.answers["garment"]
        unknown += is_far
    assert 0 < unknown < len(some)
    assert engine.gates[EXIT].reached == len(some) and engine.gates[EXIT].taken == unknown


def test_more_far_frames_than_promised_are_told_once_and_close_nothing() -> None:
    some = frames(20)
    engine, told = halving(some), list[str]()
    gate = engine.gates[EXIT]
    gate.tell = told.append
    for frame in some * 5:
        engine.run(frame)
    assert len(told) == 1 and "what the device sees has changed" in told[0] and EXIT in told[0]
    assert gate.is_open and engine.exits_to_json()[EXIT]["drifted"] is True
    assert any(engine.run(frame).exits for frame in some)
    gate.reopen()
    assert engine.exits_to_json()[EXIT]["drifted"] is False


def test_as_many_as_promised_are_no_drift() -> None:
    some = frames(20)
    engine, told = halving(some, allowed=0.6), list[str]()
    engine.gates[EXIT].tell = told.append
    for frame in some * 10:
        engine.run(frame)
    assert not told and engine.exits_to_json()[EXIT]["drifted"] is False


def test_tasks_at_rates_of_their_own_know_unknown_frames() -> None:
    some = frames(10)
    engine = halving(some)
    answers = [Turn(engine, frame).ask("garment") for frame in some]
    assert {is_unknown(answer) for answer in answers} == {True, False}


def test_the_manifest_is_read_as_it_was_written_and_no_older_reader_takes_it() -> None:
    manifest = build(policy(3.0, rule="far")).manifest
    data = manifest.to_json()
    assert data["schema"] == FAR_SCHEMA
    assert dataclasses.replace(Manifest.from_json(data), schema=1) == manifest


def test_its_values_are_no_classes() -> None:
    data = build(policy(3.0, rule="far")).manifest.to_json()
    next(t for t in data["tensors"] if t["name"] == LOGITS)["shape"] = [1, 9]
    assert Manifest.from_json(data).task("garment").exits[0].is_far


def is_told_of(length: int, block: int, rate: float, seed: int, frames: int = 4000) -> bool:
    """Whether a gate tells of drift where frames are far together, so many in a row."""
    found = policy(1.0, rule="far", kind="marginal", max_disagreement=0.05)
    gate = ExitGate(
        "garment", dataclasses.replace(found, promise=dataclasses.replace(found.promise, block=block)), bool
    )
    gate.tell = lambda sentence: None
    random = np.random.default_rng(seed)
    far = np.repeat(random.random(frames // length) < rate, length)
    for is_far in np.roll(far, int(random.integers(length))).tolist():
        gate.reached += 1
        gate.watched(is_far)
    return bool(gate.to_json()["drifted"])


def test_far_frames_in_runs_are_no_drift_while_they_are_as_many_as_promised() -> None:
    """One by one they would be: neighbours that are far together say the same again and again."""
    runs = 100
    assert sum(is_told_of(10, 20, 0.05, seed) for seed in range(runs)) <= 0.05 * runs
    assert is_told_of(10, 1, 0.05, 0)
    assert all(is_told_of(10, 20, 0.3, seed) for seed in range(20))


def test_what_is_told_says_how_many_frames_were_looked_at() -> None:
    found, told = policy(1.0, rule="far", kind="marginal"), list[str]()
    gate = ExitGate("garment", dataclasses.replace(found, promise=dataclasses.replace(found.promise, block=7)), bool)
    gate.tell = told.append
    for _ in range(100):
        gate.reached += 1
        gate.watched(is_far=True)
    assert len(told) == 1 and "frames, one of each 7, unknown" in told[0]
