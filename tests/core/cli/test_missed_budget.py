"""A result that misses the budget: another exit code, a name that says so, figures in one sentence, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.converters.report.summary import MissResult, Summary
from tests.converters.graft.networks import perturbed, residual_network
from tests.core.cli.build_project import write_project

IMPOSSIBLE = """
[budget]
min_agreement = 0.97
max_weights_bytes = 100
max_macs = 10
max_latency_us = 0.001
[graft]
fit_frames = 200
share = { first = "none", second = "none" }
[convert]
precision = "int4"
"""
GENEROUS = """
[budget]
min_agreement = 0.3
max_weights_bytes = 1_000_000
max_macs = 10_000_000
max_latency_us = 1e9
[graft]
fit_frames = 200
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    first = residual_network("first", 1)
    return write_project(tmp_path, first, perturbed(first, "second", 0.002), rest=IMPOSSIBLE)


def run(argv: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, what is printed as JSON, and standard error."""
    code = main([*argv, "--json"])
    captured = capfd.readouterr()
    return code, json.loads(captured.out), captured.err


def test_every_key_binds_and_a_miss_is_accepted_by_name_only(
    settings: Path, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    code, printed, said = run(["build", "multigraft.toml"], capfd)
    sentence = said.splitlines()[-1]
    folder = settings.parent
    assert code == 3 and not (folder / "pair.graft").exists()
    missed = Bundle.open(folder / "pair.missed.graft").manifest
    assert printed["output"] == "pair.missed.graft"
    assert sentence.startswith("multigraft: pair.missed.graft misses the budget: ") and "--allow-miss" in sentence

    del printed["output"]
    summary = Summary.from_json(printed)
    misses = {(miss.key, miss.task): miss for miss in summary.budget.missed}
    for task in missed.tasks:
        shown = task.fidelity["bundle_agreement"]
        figures = (shown["lower_bound"], shown["frames"])
        assert misses.pop(("min_agreement", task.name)) == MissResult(
            "min_agreement", 0.97, figures[0], task.name, figures[1]
        )
        assert f"min_agreement = 0.97 ({task.name} shows {figures[0]:.4f} on {figures[1]} frames)" in sentence
    weights = sum(s.weights_bytes for s in missed.segments)
    assert misses.pop(("max_weights_bytes", None)) == MissResult("max_weights_bytes", 100, weights)
    assert f"max_weights_bytes = 100 (it has {weights})" in sentence
    macs = sum(s.macs for s in missed.segments)
    assert misses.pop(("max_macs", None)) == MissResult("max_macs", 10, macs)
    assert f"max_macs = 10 (it has {macs})" in sentence
    latency = misses.pop(("max_latency_us", None))
    assert latency.figure is not None and latency.figure > 0.001 and latency.samples == 300
    assert "the median of 300 runs" in sentence and not misses
    assert any(note.startswith("The bundle misses the budget: ") for note in summary.notes)

    code, printed, again = run(["build", "multigraft.toml", "--allow-miss"], capfd)
    assert code == 0 and printed["output"] == "pair.graft"
    for step in ("compare representations", "converting with onnx2tf"):
        assert step in said and step not in again
    assert len(printed["budget"]["missed"]) == 5 and any("misses the budget" in note for note in printed["notes"])
    assert (folder / "pair.graft").read_bytes() == (folder / "pair.missed.graft").read_bytes()
    assert not (folder / "pair.graft.steps").exists()


def test_a_budget_that_is_kept_says_nothing(
    settings: Path, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    text = settings.read_text("utf-8")
    settings.write_text(text[: text.index("[budget]")] + GENEROUS, "utf-8")
    code, printed, _ = run(["build", "multigraft.toml"], capfd)
    assert (code, printed["output"], printed["budget"]["missed"]) == (0, "pair.graft", [])
    assert not any("misses" in note for note in printed["notes"])


def test_a_graph_that_misses_the_budget_is_written_beside(settings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, printed, sentence = run(["graft", "multigraft.toml"], capfd)
    assert code == 3 and printed["output"] == "pair.missed.onnx" and not Path("pair.onnx").exists()
    sentence = sentence.splitlines()[-1]
    macs = next(point["macs"] for point in printed["pareto"] if point["chosen"])
    assert {(miss["key"], miss["figure"]) for miss in printed["missed"]} >= {("max_macs", macs)}
    assert f"max_macs = 10 (it has {macs})" in sentence
    onnx.checker.check_model(onnx.load("pair.missed.onnx"))
    code, printed, _ = run(["graft", "multigraft.toml", "--allow-miss"], capfd)
    assert code == 0 and Path("pair.onnx").read_bytes() == Path("pair.missed.onnx").read_bytes()


def test_a_demo_that_misses_its_budget_says_so_as_a_build_does(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    """The demo's own networks keep theirs; these stand in their place."""
    monkeypatch.setattr("multigraft.converters.demo.data.demo_folder", lambda: settings.parent)
    code = main(["demo", "-o", "out"])
    printed, said = capfd.readouterr()
    folder = settings.parent / "out"
    assert code == 3 and not (folder / "demo.graft").exists() and (folder / "demo.missed.graft").exists()
    assert "max_macs = 10" in said.splitlines()[-1] and "The bundle misses the budget: " in printed
    assert "out/demo.missed.graft: run it with" in printed
    assert {miss.key for miss in Summary.load(folder / "summary.json").budget.missed} >= {"max_macs", "max_latency_us"}
    assert main(["demo", "-o", "out", "--allow-miss", "--json"]) == 0 and (folder / "demo.graft").exists()
