"""Tasks of one frame asked one after the other: the answers of all at once, and nothing run twice."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from multigraft.errors import BundleError, InputError
from multigraft.runtime import Engine
from multigraft.runtime.backends import BackendName
from multigraft.runtime.turns import Turn
from tests.bundle_builder import assemble, build
from tests.calibration.crop_networks import crop_frames, crops_bundle
from tests.tflite_builder import Graph

TASKS = ("garment", "sky", "digit")
FRAMES = np.random.default_rng(0).integers(0, 255, (6, 30, 40), dtype=np.uint8)


@pytest.fixture
def engine(backend: BackendName) -> Engine:
    heads = (("garment", "classification"), ("sky", "segmentation"), ("digit", "classification"))
    return Engine(build(heads, backend=backend).bundle, backend=backend)  # type: ignore[arg-type]


def said(answer: object) -> str:
    return json.dumps(answer.to_json())  # type: ignore[attr-defined]


def test_answers_are_those_of_all_tasks_at_once_in_any_order(engine: Engine) -> None:
    for frame, order in zip(FRAMES, itertools.permutations(TASKS), strict=True):
        at_once = engine.run(frame).answers
        turn = Turn(engine, frame)
        for task in order:
            assert said(turn.ask(task)) == said(at_once[task])
        assert list(turn.result().answers) == list(order)


def test_each_segment_runs_once_and_a_part_of_the_tasks_runs_only_theirs(engine: Engine) -> None:
    turn = Turn(engine, FRAMES[0])
    turn.ask("digit")
    assert set(turn.times_us) == {"prepare image", "trunk", "head_digit", "answer digit"}
    before = dict(turn.times_us)
    turn.ask("sky")
    assert set(turn.times_us) - set(before) == {"head_sky", "answer sky"}
    assert {part: us for part, us in turn.times_us.items() if part in before} == before
    result = turn.result()
    assert set(result.latency_us) == {"trunk", "head_digit", "head_sky"}
    assert result.total_us == pytest.approx(sum(turn.times_us.values()))
    assert result.preprocessing_us == turn.times_us["prepare image"]


def test_another_use_of_the_engine_in_between_changes_no_answer(engine: Engine) -> None:
    wanted = engine.run(FRAMES[0]).answers
    turn = Turn(engine, FRAMES[0])
    turn.ask("garment")
    engine.run(FRAMES[1])
    assert said(turn.ask("sky")) == said(wanted["sky"])
    other = Turn(engine, FRAMES[2])
    other.ask("digit")
    assert said(turn.ask("digit")) == said(wanted["digit"])
    stored = {"image": np.zeros((1, 28, 28, 1), np.int8)}
    turn = Turn(engine, FRAMES[0])
    turn.ask("sky")
    engine.compute(stored)
    assert said(turn.ask("garment")) == said(wanted["garment"])


def test_an_input_that_two_segments_read_is_prepared_once() -> None:
    graph = Graph(seed=3)
    image = graph.input("image", (1, 28, 28, 1))
    tasks, segments = {}, {}
    for name in ("one", "two"):
        graph.conv(f"{name}/conv", image, 8, stride=2)
        graph.dense(f"{name}/out", graph.mean(f"{name}/mean", f"{name}/conv"), 4)
        segments[name] = [f"{name}/conv", f"{name}/mean", f"{name}/out"]
        tasks[name] = ("classification", f"{name}/out", tuple("abcd"))
    engine = Engine(assemble(graph, segments, tasks).bundle)  # type: ignore[arg-type]
    wanted = engine.run(FRAMES[1]).answers
    engine.run(FRAMES[0])
    turn = Turn(engine, FRAMES[1])
    assert [said(turn.ask(name)) for name in ("two", "one")] == [said(wanted[name]) for name in ("two", "one")]
    assert [part for part in turn.times_us if part.startswith("prepare")] == ["prepare image"]


def test_frames_by_task_and_unknown_tasks(engine: Engine) -> None:
    turn = Turn(engine, dict.fromkeys(("garment", "digit"), FRAMES[0]))
    assert said(turn.ask("digit")) == said(engine.run(FRAMES[0]).answers["digit"])
    with pytest.raises(InputError, match="task sky has no frame"):
        turn.ask("sky")
    with pytest.raises(BundleError, match="no task 'dog'"):
        turn.ask("dog")


def test_tasks_that_look_at_boxes_are_asked_after_what_finds_them() -> None:
    engine = Engine(crops_bundle(), self_test=False)
    tasks = {task.name: task for task in engine.manifest.tasks}
    looking = next(task for task in tasks.values() if task.on is not None)
    assert looking.on is not None
    for frame in crop_frames(3):
        wanted = engine.run(frame).answers
        turn = Turn(engine, frame)
        assert said(turn.ask(looking.name)) == said(wanted[looking.name])
        assert said(turn.answers[looking.on.task]) == said(wanted[looking.on.task])
        assert turn.result().stages[0].stage.tasks == (looking.name,)
        assert f"boxes {looking.name}" in turn.times_us
        again = {part for part in turn.times_us if not part.startswith("boxes")}
        for task in tasks:
            turn.ask(task)
            assert said(turn.answers[task]) == said(wanted[task])
        assert again <= set(turn.times_us)
