"""Exits through the command line, with the real converter: built, run, inspected, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.answers import Answer, Classification
from tests.converters.graft.networks import frames, perturbed, residual_network
from tests.core.cli.build_project import write_project
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.cascades.people import reference_engine
from tests.firmware_gen.exits.board import counts, in_engine, on_board

ASKED = 0.1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, onnx2tf_environment: object) -> Path:
    """Two networks of one trunk, both with exits where these pay."""
    folder = tmp_path_factory.mktemp("exits")
    first = residual_network("first", 1)
    rest = '[budget]\nmin_agreement = 0.8\n[graft]\nfit_frames = 300\n[exits]\npromise = "selective"\naudited = 0.0\n'
    settings = write_project(folder, first, perturbed(first, "second", 0.002), rest=rest, count=1500)
    output = folder / "pair.graft"
    argv = ["build", str(settings), "-o", str(output), "--allow-miss", "--exits", "auto"]
    assert main([*argv, "--max-disagreement", str(ASKED)]) == 0
    return output


def class_of(answer: Answer) -> int:
    assert isinstance(answer, Classification)
    return answer.index


def test_the_bundle_promises_what_was_asked(built: Path) -> None:
    manifest = Bundle.open(built).manifest
    exits = [found for task in manifest.tasks for found in task.exits]
    assert exits
    for found in exits:
        assert found.promise.max_disagreement == ASKED
        assert found.promise.kind == "selective"
        assert found.promise.disagreed <= ASKED * found.promise.taken
        assert manifest.segment(found.segment).precision == "int8"


def test_frames_that_nobody_has_seen_keep_it(built: Path) -> None:
    early, whole = Engine(built), Engine(built, exits=False)
    taken: dict[str, list[bool]] = {gate.task: [] for gate in early.gates.values()}
    for frame in frames(600, seed=99):
        result, right = early.run(frame), whole.run(frame)
        for task, answer in result.answers.items():
            if task in (result.exits or {}):
                taken[task].append(class_of(answer) == class_of(right.answers[task]))
            else:
                assert answer == right.answers[task]
    for agreed in taken.values():
        assert len(agreed) > 100
        # The promise, and what 600 frames scatter beyond it at most once in 1,000 times.
        assert np.mean(agreed) >= 1 - ASKED - 3.1 * np.sqrt(ASKED * (1 - ASKED) / len(agreed))


def test_inspect_and_run_say_it(built: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", str(built)]) == 0
    assert "Early exits" in capfd.readouterr().out
    np.save(tmp_path / "frames.npy", frames(20, seed=5))
    source = str(tmp_path / "frames.npy")
    assert main(["run", str(built), "--source", source]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert any(line["exits"] for line in lines)
    assert main(["run", str(built), "--source", source, "--no-exits"]) == 0
    assert "exits" not in json.loads(capfd.readouterr().out.splitlines()[0])
    assert main(["bench", str(built), "--source", source, "--runs", "20", "--no-memory", "--no-energy", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert all(told["reached"] for told in report["exits"].values())


@needs_tools
def test_firmware_takes_the_same_exits(built: Path, tmp_path: Path) -> None:
    """On a board in QEMU, frame by frame, where its kernels' bits are the interpreter's."""
    pytest.importorskip("serial")
    bundle, some = Bundle.open(built), frames(60, seed=7)
    engine = reference_engine(bundle)
    said, told = on_board(bundle, "mps2-an386", some, tmp_path)
    assert said == in_engine(engine, some)
    assert told == counts(engine)
    assert 0 < sum(left is not None for way in said for _, left, _ in way) < sum(map(len, said))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-disagreement", "0.01"], "--max-disagreement is of exits, and there are none"),
        (["--exits", "auto", "--max-disagreement", "0"], "--max-disagreement is 0; give a number above 0"),
        (["--exits", "auto", "--max-disagreement", "nan"], "--max-disagreement is nan; give a number above 0"),
        (["--exits", "auto", "--weights", "4bit"], "exits.place contradicts weights = '4bit'"),
        (["--exits", "auto", "--precision", "binary"], "exits.place contradicts a binary precision with a fallback"),
    ],
)
def test_what_cannot_be_served_is_refused(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = write_project(tmp_path, residual_network("first", 1))
    assert main(["build", str(settings), *options]) in (2, 78)
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('[exits]\nplace = "auto"\nat = { frist = "block" }\n', "exits.at.frist is not the name of a task"),
        ('[exits]\nplace = "auto"\nat = { first = "nowhere" }\n', "choose from: stem, block"),
        ("[exits]\nmax_disagreement = 0.7\n", "exits.max_disagreement"),
        ('[exits]\nplace = "somewhere"\n', "exits.place"),
    ],
)
def test_wrong_settings_are_named(rest: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = write_project(tmp_path, residual_network("first", 1), rest=rest, count=1500)
    assert main(["build", str(settings), "-o", str(tmp_path / "a.graft")]) == 78
    assert said in capfd.readouterr().err


def test_too_few_frames_are_told_before_anything_is_fitted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    settings = write_project(tmp_path, residual_network("first", 1), count=400)
    output = tmp_path / "a.graft"
    assert main(["build", str(settings), "-o", str(output), "--allow-miss", "--exits", "auto"]) == 0
    told = capfd.readouterr().err
    assert "299 frames that exit and all agree are the least" in told
    assert "first gets no exits" in told
    assert Engine(output).gates == {}
