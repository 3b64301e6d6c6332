"""Gates through the command line, with the real converter, and what becomes of frames that show too little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.exits.gates import calibrate_gate, repeats
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import Planned
from multigraft.exits.thresholds import Asked
from multigraft.runtime import Engine
from multigraft.runtime.answers import Answer, Classification
from tests.converters.exits.gated_build import gated
from tests.converters.graft.networks import frames, residual_network
from tests.core.cli.build_project import write_project
from tests.exit_bundle import EXIT, LOGITS, build, policy

ASKED = 0.2
Pictures = npt.NDArray[np.uint8]


def video(count: int, seed: int) -> Pictures:
    """Scenes of 2 to 8 frames with noise."""
    random = np.random.default_rng(seed)
    scenes = [np.repeat(scene[None], random.integers(2, 9), 0) for scene in frames(count // 2, seed=seed)]
    shown = np.concatenate(scenes)[:count].astype(int)
    noisy: Pictures = np.clip(shown + random.integers(-2, 3, shown.shape), 0, 255).astype(np.uint8)
    return noisy


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, onnx2tf_environment: object) -> Path:
    return gated(tmp_path_factory.mktemp("gate"), "change", ASKED, video(1800, seed=3))


def class_of(answer: Answer) -> int:
    assert isinstance(answer, Classification)
    return answer.index


def test_a_video_that_nobody_has_seen_keeps_the_promise(built: Path) -> None:
    (gate,) = Bundle.open(built).manifest.task("first").exits
    assert gate.is_gate and gate.promise.max_disagreement == ASKED
    assert gate.promise.disagreed <= ASKED * gate.promise.taken
    engine, whole = Engine(built), Engine(built, exits=False)
    engine.gates[gate.segment].audited_share = 0.0
    repeated, wrong = 0, 0
    for frame in video(1000, seed=8):
        result, right = engine.run(frame), whole.run(frame)
        if result.exits:
            repeated += 1
            wrong += class_of(result.answers["first"]) != class_of(right.answers["first"])
        else:
            assert result.answers == right.answers
    assert repeated > 300
    # The promise, and what so many frames scatter beyond it at most once in 1,000 times.
    assert wrong / repeated <= ASKED + 3.1 * np.sqrt(ASKED * (1 - ASKED) / repeated)


def test_commands_tell_of_it(built: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", str(built)]) == 0
    assert "gate_first" in capfd.readouterr().out
    np.save(tmp_path / "frames.npy", video(20, seed=5))
    source = str(tmp_path / "frames.npy")
    assert main(["run", str(built), "--source", source]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert any(line["exits"] == {"first": "gate_first"} for line in lines)
    assert main(["bench", str(built), "--source", source, "--runs", "20", "--no-memory", "--no-energy"]) == 0
    assert "gate_first" in capfd.readouterr().out
    assert main(["firmware", str(built), "--board", "nucleo-f446re", "-o", str(tmp_path / "fw")]) == 0
    said = "note: firmware takes no gates, so that first of"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("kind", "gate", "said"),
    [
        ("classification", '{ kind = "chance" }', "task[0].gate.kind is 'chance'; did you mean change"),
        ("classification", '{ kind = "change", max_disagreement = 1 }', "task[0].gate.max_disagreement is 1"),
        ("regression", '{ kind = "change" }', "which only a classification can; leave the gate of first out"),
    ],
)
def test_a_wrong_table_is_refused(
    kind: str, gate: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = write_project(tmp_path, residual_network("first", 1), more=f"gate = {gate}")
    settings.write_text(settings.read_text().replace('"classification"', f'"{kind}"'))
    assert main(["build", str(settings)]) == 78
    assert said in capfd.readouterr().err


def test_the_last_answer_is_that_of_the_last_frame_that_was_far() -> None:
    logits = np.array([[0], [1], [2], [3], [3], [0]], np.int32)
    passed = repeats(logits, np.array([5, 5, 6, 6, 6, 5]), np.array([0.0, 1.0, 100.0]))
    assert passed.taken.tolist() == [
        [False, False, False, False, True, False],
        [False, True, False, True, True, False],
        [False, True, True, True, True, True],
    ]
    assert [one.disagreed for one in passed.counts([0, 0, 0])] == [0, 0, 3]


def planned(thresholds: list[float]) -> Planned:
    place = Place("trunk", "trunk/conv2", (16, 14, 14), 1, True)
    head = Head(1, np.zeros((16, 10), np.float32), np.zeros(10, np.float32), np.zeros((50, 10)))
    logits = np.zeros((50, 10), np.float32)
    return Planned(place, head, "change", 1.0, np.array(thresholds), 0.5, np.ones(50, bool), logits)


def calibrated(shown: list[Pictures], thresholds: list[float]) -> tuple[object, list[str]]:
    said: list[str] = []
    one = Inserted("garment", EXIT, LOGITS, planned(thresholds))
    found = calibrate_gate(build(policy(0.5)), one, shown, Asked("selective", 0.1, 0.95), 0.0, said.append)
    return found, said


def test_a_scene_that_never_changes_shows_nothing() -> None:
    found, said = calibrated([np.full((28, 28), 80, np.uint8)] * 60, [-1.0])
    assert found is None
    assert "of 0 frames on which the whole network changes its answer" in said[0]
    assert "as one that never looks would do as well; give frames with changes" in said[0]


def test_frames_in_no_order_get_no_gate() -> None:
    found, said = calibrated(list(np.random.default_rng(3).integers(0, 256, (60, 28, 28), np.uint8)), [-1e3])
    assert found is None
    assert "give more frames, in the order of the camera, or allow more" in said[0]
