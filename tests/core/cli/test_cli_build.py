"""The main job through the command line, with the real converter: settings in, bundle and report out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import build
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.report.summary import Summary
from multigraft.converters.settings.settings import Settings
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from tests.converters.graft.networks import frames, perturbed, residual_network
from tests.optional import some

TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labels = ["no", "maybe", "yes"]
[task.preprocessing]
size = [8, 8]
color = "grey"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and a relative of it, frames and settings, in a path with spaces."""
    folder = tmp_path_factory.mktemp("a project")
    first = residual_network("first", 1)
    onnx.save(first.model, folder / "first.onnx")
    onnx.save(perturbed(first, "second", 0.002).model, folder / "second.onnx")
    np.save(folder / "frames.npy", frames(400))
    tasks = "".join(TASK.format(name=name) for name in ("first", "second"))
    budget = "[budget]\nmin_agreement = 0.9\n[graft]\nfit_frames = 200\n"
    text = f'frames = "frames.npy"\n[bundle]\nname = "pair"\n{tasks}{budget}'
    (folder / "multigraft.toml").write_text(text, "utf-8")
    return folder


@pytest.fixture
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(project)
    before = set(project.iterdir())
    yield project
    for path in set(project.iterdir()) - before:
        if path.is_file():
            path.unlink()


def printed(argv: list[str], capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code = main([*argv, "--json"])
    captured = capfd.readouterr()
    assert code == 0, captured.err
    data: dict[str, Any] = json.loads(captured.out)
    return data


@pytest.fixture(scope="module")
def built(project: Path, tmp_path_factory: pytest.TempPathFactory, onnx2tf_environment: object) -> tuple[Path, Path]:
    output = tmp_path_factory.mktemp("out")
    argv = ["build", str(project / "multigraft.toml"), "-o", str(output / "pair.graft"), "--allow-miss"]
    assert main([*argv, "--report-dir", str(output / "report")]) == 0
    return output / "pair.graft", output / "report"


def test_the_bundle_shares_a_trunk_and_answers(built: tuple[Path, Path]) -> None:
    bundle = Bundle.open(built[0])
    assert bundle.manifest.name == "pair"
    assert bundle.manifest.task("first").segments[0] == bundle.manifest.task("second").segments[0] == "trunk"
    assert {bundle.manifest.task(n).relation for n in ("first", "second")} == {"donor", "relative"}
    answers = Engine(bundle).run(frames(1)[0]).answers
    assert set(answers) == {"first", "second"}
    for answer in answers.values():
        assert isinstance(answer, Classification) and answer.label in {"no", "maybe", "yes"}


def test_the_report_holds_what_was_measured(built: tuple[Path, Path]) -> None:
    bundle, folder = built
    summary = Summary.load(folder / "summary.json")
    assert summary.bundle_bytes == bundle.stat().st_size
    assert summary.segments.mismatches == 0 and summary.segments.inputs >= 200
    for pair in (summary.weights_bytes, summary.macs, summary.latency_us, summary.pss_kib):
        assert pair.separate and pair.bundle
    assert some(summary.weights_bytes.bundle) < some(summary.weights_bytes.separate)
    assert all(t.int8_agreement and t.int8_agreement.frames >= 100 for t in summary.tasks)
    assert sum(point.chosen for point in summary.pareto) == 1
    assert summary.layer_error and summary.machine and summary.machine.name
    pictures = [table.heatmap for table in summary.similarity]
    assert pictures and all(picture and (folder / picture).is_file() for picture in pictures)
    page = (folder / "report.html").read_text("utf-8")
    assert "head_second" in page and summary.machine.name in page
    assert (folder / "pareto.png").stat().st_size > 1000


def test_an_interrupted_build_goes_on_where_it_was(
    project: Path,
    built: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        if line.startswith("quantising"):
            raise KeyboardInterrupt

    output = tmp_path / "pair.graft"
    checkpoints = Checkpoints(tmp_path / "pair.graft.steps")
    with pytest.raises(KeyboardInterrupt):
        build(Settings.load(project / "multigraft.toml"), load_frames, interrupt, checkpoints=checkpoints)
    assert {path.name.partition("-")[0] for path in checkpoints.folder.iterdir()} == {"similarity", "graft", "float"}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished graft was done again")

    monkeypatch.setattr("multigraft.converters.graft.search.evaluate", refuse)
    assert main(["build", str(project / "multigraft.toml"), "-o", str(output), "--allow-miss"]) == 0
    again = capfd.readouterr().err
    for step in ("compare representations", "converting with onnx2tf"):
        assert step not in again and any(step in line for line in said)
    assert output.read_bytes() == built[0].read_bytes()
    assert not checkpoints.folder.exists()


def test_graft_alone_writes_a_graph_that_any_tool_opens(inside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = printed(["graft", "multigraft.toml", "-o", "pair.onnx"], capfd)
    assert report["output"] == "pair.onnx"
    assert sum(point["chosen"] for point in report["pareto"]) == 1
    model = onnx.load(inside / "pair.onnx")
    onnx.checker.check_model(model)
    assert len(model.graph.output) == 2


def test_share_on_the_command_line_decides(inside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    apart = printed(
        ["graft", "multigraft.toml", "-o", "a.onnx", "--share", "second=none", "--share", "first=none"], capfd
    )
    chosen = next(point for point in apart["pareto"] if point["chosen"])
    assert chosen["agreement"] == {}
    early = printed(["graft", "multigraft.toml", "-o", "b.onnx", "--share", "second=stem"], capfd)
    chosen = next(point for point in early["pareto"] if point["chosen"])
    assert "up to stem" in chosen["plan"] and set(chosen["agreement"]) == {"second"}


def test_frames_on_the_command_line_replace_those_of_the_file(inside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.savez(inside / "other.npz", day=frames(200, seed=5), night=frames(300, seed=6))
    report = printed(["graft", "multigraft.toml", "-o", "c.onnx", "--frames", "other.npz:night"], capfd)
    held_out = {a["frames"] for point in report["evaluated"] for a in [point["agreement"]]}
    assert held_out == {33}, "a third of what is held out of 300 chooses"
