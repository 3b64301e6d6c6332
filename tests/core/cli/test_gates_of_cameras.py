"""Several cameras, each with a gate of its own: what one of them sees is nothing new or far for that one alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.exits.policy import Rule
from multigraft.runtime import Engine
from tests.exit_bundle import build, policy

FRAMES = 12


def lines_of(capfd: pytest.CaptureFixture[str]) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def run(folder: Path, rule: Rule, threshold: float) -> list[str]:
    """Run two gates on two files: one shows the same picture all the time, the other a new one each time."""
    random = np.random.default_rng(5)
    still, new = random.integers(0, 256, (1, 28, 28), np.uint8), random.integers(0, 256, (FRAMES, 28, 28), np.uint8)
    np.save(folder / "still.npy", np.repeat(still, FRAMES, axis=0))
    np.save(folder / "new.npy", new)
    build(policy(threshold, rule=rule), float32=True, is_for_all=True).write(folder / "two.graft")
    sources = [f"--source=garment={folder / 'still.npy'}", f"--source=digit={folder / 'new.npy'}"]
    return ["run", str(folder / "two.graft"), *sources]


def test_a_still_camera_repeats_and_another_looks_at_each_frame(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(run(tmp_path, "change", 0.0)) == 0
    lines = lines_of(capfd)
    taken = {
        task: [line["exits"].get(task) for line in lines if task in line["answers"]] for task in ("garment", "digit")
    }
    assert taken["garment"] == [None, *["exit_garment"] * (FRAMES - 1)]
    assert taken["digit"] == [None] * FRAMES


def test_each_gives_the_answers_that_it_gives_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(run(tmp_path, "change", 4.0)) == 0
    together: dict[str, list[object]] = {"garment": [], "digit": []}
    for line in lines_of(capfd):
        for task, answer in line["answers"].items():
            together[task].append(answer)
    for task, file in (("garment", "still.npy"), ("digit", "new.npy")):
        engine = Engine(tmp_path / "two.graft")
        alone = [engine.run(frame, (task,)).to_json()["answers"][task] for frame in np.load(tmp_path / file)]
        assert together[task] == alone


def test_what_is_unknown_to_one_is_counted_there_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(run(tmp_path, "far", 1e9)) == 0
    assert all(not line["exits"] for line in lines_of(capfd))
    assert main(run(tmp_path, "far", -1.0)) == 0
    assert all(set(line["exits"]) == set(line["answers"]) for line in lines_of(capfd))


def test_bench_gives_each_task_the_frames_of_its_own_source(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sources = run(tmp_path, "change", 0.0)[1:]
    few = ["--runs", "6", "--warmup", "0", "--json", "--no-memory", "--no-energy"]
    assert main(["bench", *sources, "--policy", "always-local", *few]) == 0
    told = json.loads(capfd.readouterr().out)["tasks"]
    assert {one["task"]: one["frames"] for one in told} == {"garment": 6, "digit": 6}
    assert main(["bench", *sources, "--tasks", "garment,digit", *few]) == 0
    assert {gate["reached"] for gate in json.loads(capfd.readouterr().out)["exits"].values()} == {3}
    assert main(["bench", *sources, "--rate", "5", "--json"]) == 2
    assert "sources of tasks that share an input have no frame in common" in capfd.readouterr().err
