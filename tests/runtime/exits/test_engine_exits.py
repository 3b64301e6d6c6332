"""A frame that is sure enough leaves early, and what it skips is not run."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.benchmark import measure_latency
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.parts import Part, parts_of
from multigraft.runtime.scheduling.measuring import measure_times
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.turns import Turn
from tests.exit_bundle import EXIT, LOGITS, build, policy

ALWAYS, NEVER = 0.0, 2.0
Picture = npt.NDArray[np.uint8]


def frames(count: int, seed: int = 1) -> list[Picture]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8))


def sure_of(bundle: Bundle, some: list[Picture]) -> list[float]:
    """Probability of the early answer of each frame."""
    engine = Engine(bundle)
    engine.gates[EXIT].is_sure = lambda: True
    return [said(engine, frame).score for frame in some]


def said(engine: Engine, frame: Picture) -> Classification:
    answer = engine.run(frame, ("garment",)).answers["garment"]
    assert isinstance(answer, Classification)
    return answer


@pytest.fixture(scope="module")
def middling() -> tuple[Bundle, list[Picture]]:
    """A bundle whose exit half of the frames take."""
    some = frames(40)
    scores = sure_of(build(policy(ALWAYS)), some)
    return build(policy(float(np.median(scores)))), some


def test_a_frame_that_leaves_runs_trunk_and_exit_alone() -> None:
    result = Engine(build(policy(ALWAYS), ("garment",))).run(frames(1)[0])
    assert list(result.latency_us) == ["trunk", EXIT]
    assert result.exits == {"garment": EXIT}
    assert result.to_json()["exits"] == {"garment": EXIT}


def test_a_frame_that_stays_is_answered_as_without_exits() -> None:
    bundle = build(policy(NEVER))
    engine, whole = Engine(bundle), Engine(bundle, exits=False)
    for frame in frames(5):
        result = engine.run(frame)
        assert result.answers == whole.run(frame).answers
        assert result.exits == {}
        assert list(result.latency_us) == ["trunk", EXIT, "head_garment", "head_digit"]
    assert whole.run(frames(1)[0]).exits is None
    assert whole.gates == {}


def test_other_tasks_go_on_when_one_leaves() -> None:
    bundle = build(policy(ALWAYS))
    result, whole = Engine(bundle).run(frames(1)[0]), Engine(bundle, exits=False).run(frames(1)[0])
    assert list(result.latency_us) == ["trunk", EXIT, "head_digit"]
    assert result.answers["digit"] == whole.answers["digit"]
    assert Engine(bundle).run(frames(1)[0], ("digit",)).exits is None


@pytest.mark.parametrize("float32", [False, True])
def test_the_threshold_decides_frame_by_frame(float32: bool) -> None:
    some = frames(40)
    scores = sure_of(build(policy(ALWAYS), float32=float32), some)
    threshold = float(np.median(scores))
    engine = Engine(build(policy(threshold), float32=float32))
    taken = [bool(engine.run(frame, ("garment",)).exits) for frame in some]
    assert taken == [score >= threshold for score in scores]
    assert 0 < sum(taken) < 40
    gate = engine.gates[EXIT]
    assert (gate.reached, gate.taken, gate.rate) == (40, sum(taken), sum(taken) / 40)


def test_turns_answer_as_the_engine_does(middling: tuple[Bundle, list[Picture]]) -> None:
    bundle, some = middling
    engine, other = Engine(bundle), Engine(bundle)
    for frame in some:
        turn = Turn(engine, frame)
        for task in ("garment", "digit"):
            turn.ask(task)
        told, result = turn.result(), other.run(frame)
        assert told.answers == result.answers
        assert told.exits == result.exits
        assert set(told.latency_us) == set(result.latency_us)


def test_admission_counts_frames_that_take_no_exit(middling: tuple[Bundle, list[Picture]]) -> None:
    bundle, some = middling
    engine = Engine(bundle)
    turn = Turn(engine, some[0], exits=False)
    assert turn.ask("garment") == Engine(bundle, exits=False).run(some[0]).answers["garment"]
    assert {"trunk", EXIT, "head_garment"} <= set(turn.times_us)
    shown = iter(some)
    assert measure_times(engine, lambda: next(shown), ("garment",), rounds=20, rest_s=0).rounds == 20
    assert engine.gates[EXIT].reached == 0


def test_latency_and_parts_know_every_segment(middling: tuple[Bundle, list[Picture]]) -> None:
    bundle, some = middling
    engine = Engine(bundle)
    timing = measure_latency(engine, some, None, 40, 0)
    assert timing.segments["trunk"].samples == 40
    assert 0 < timing.segments["head_garment"].samples < 40
    assert Part("segment", EXIT) in parts_of(engine, some[0])


def test_figures_tell_the_exits(middling: tuple[Bundle, list[Picture]]) -> None:
    bundle, some = middling
    engine = Engine(bundle)
    figures = Figures(engine.manifest, None)
    figures.exits = engine.exits_to_json
    for frame in some:
        figures.answered(engine.run(frame))
    told = figures.to_json()["exits"][EXIT]
    assert told["reached"] == 40
    assert told["rate"] == told["taken"] / 40
    assert told["open"]


def test_audited_frames_are_answered_by_the_whole_network() -> None:
    bundle = build(policy(ALWAYS, audited=0.25, max_disagreement=0.99))
    engine, whole = Engine(bundle, audit_seed=4), Engine(bundle, exits=False)
    audited = 0
    for frame in frames(60):
        result = engine.run(frame)
        if not result.exits:
            audited += 1
            assert result.answers == whole.run(frame).answers
    gate = engine.gates[EXIT]
    assert audited == gate.audit.audited
    assert 5 <= audited <= 30
    assert gate.taken == 60


def test_the_draw_is_that_of_its_seed() -> None:
    bundle = build(policy(ALWAYS, audited=0.5, max_disagreement=0.99))

    def drawn(seed: int) -> list[bool]:
        engine = Engine(bundle, audit_seed=seed)
        return [bool(engine.run(frame).exits) for frame in frames(30)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_an_exit_that_breaks_its_promise_is_closed_and_told(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(build(policy(ALWAYS, audited=0.5)))
    whole = Engine(engine.bundle, exits=False)
    early = Engine(build(policy(ALWAYS)))
    # Random weights: the exit answers many frames otherwise.
    some = frames(400)
    wrong = sum(said(early, f).index != said(whole, f).index for f in some[:100])
    assert wrong > 20
    with caplog.at_level(logging.WARNING, "multigraft.exits"):
        results = [engine.run(frame) for frame in some]
    gate = engine.gates[EXIT]
    assert not gate.is_open
    assert gate.audit.is_broken
    (record,) = caplog.records
    assert "exit_garment of task garment is closed" in record.getMessage()
    last = results[-1]
    assert last.exits == {}
    assert EXIT not in last.latency_us
    assert last.answers == whole.run(some[-1]).answers


def test_a_marginal_promise_counts_frames_that_stay() -> None:
    engine = Engine(build(policy(NEVER, audited=1.0, kind="marginal")))
    for frame in frames(10):
        engine.run(frame)
    assert engine.gates[EXIT].audit.audited == 10
    leaving = Engine(build(policy(ALWAYS, audited=0.5, kind="marginal", max_disagreement=0.99)))
    stayed = sum(not leaving.run(frame).exits for frame in frames(30))
    assert 0 < leaving.gates[EXIT].audit.audited == stayed < 30
    selective = Engine(build(policy(NEVER, audited=1.0)))
    selective.run(frames(1)[0])
    assert selective.gates[EXIT].audit.audited == 0


def test_all_is_looked_at_while_the_promise_is_in_doubt() -> None:
    gate = ExitGate("garment", policy(ALWAYS, audited=0.05), lambda: True)
    gate.tell = lambda sentence: None
    assert gate.audited_share == 0.05
    gate.audited(False)
    assert gate.audited_share == 1
    for _ in range(200):
        gate.audited(True)
    assert gate.audited_share == 0.05


@pytest.mark.parametrize(
    ("before", "usual", "share", "audited"),
    [(20_000, 0.005, 0.03, 0.1), (20_000, 0.005, 0.2, 0.1), (7000, 0.0041, 0.054, 0.1), (7000, 0.0026, 0.054, 0.05)],
)
def test_audits_close_in_time_and_hardly_ever_for_nothing(
    before: int, usual: float, share: float, audited: float
) -> None:
    """Through the gate, as the engine tells it: exits of which a few disagree, then a shift; the last two are those of
    a residual network whose pictures are blurred."""
    random = np.random.default_rng(8)
    false_alarms, late = 0, 0
    for _ in range(200):
        gate = ExitGate("garment", policy(ALWAYS, audited=audited), lambda: True)
        gate.tell = lambda sentence: None
        wrong = given = 0
        for disagrees, chance in zip(
            (random.random(before) < usual).tolist(), random.random(before).tolist(), strict=True
        ):
            if gate.is_open and chance < gate.audited_share:
                gate.audited(not disagrees)
            else:
                given += 1
                wrong += disagrees
        false_alarms += not gate.is_open
        while gate.is_open:
            disagrees = bool(random.random() < share)
            if random.random() < gate.audited_share:
                gate.audited(not disagrees)
            else:
                given += 1
                wrong += disagrees
        late += wrong > 0.015 * given
    assert false_alarms <= 10
    assert late <= 10


def test_without_exits_no_head_is_run() -> None:
    bundle = build(policy(0.0))
    frame = np.zeros((28, 28), np.uint8)
    assert EXIT in Engine(bundle).run(frame).latency_us
    whole = Engine(bundle, exits=False)
    for tasks in (None, ("garment",), ("garment", "digit")):
        assert EXIT not in whole.run(frame, tasks).latency_us
    # The self-test looks at every tensor all the same.
    assert whole.self_test is not None and LOGITS in whole.compute({"image": np.zeros((1, 28, 28, 1), np.int8)})
