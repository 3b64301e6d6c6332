"""Where a comparison fails or a build is refused late, what was made stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.converters.report.summary import Summary
from multigraft.runtime import Engine
from tests.converters.graft.networks import frames, perturbed, residual_network
from tests.core.cli.build_project import write_project

BUDGET = "[budget]\nmin_agreement = 0.1\n[graft]\nfit_frames = 200\n"
WITH_ADAPTER = f'{BUDGET}share = {{ second = "block" }}\n'
"""The networks differ in width, so that an adapter joins them, which no network apart has."""


def test_a_bundle_whose_comparison_fails_is_written_and_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labelled.npz").write_bytes(b"no arrays")
    first, second = residual_network("first", 1), residual_network("second", 2, width=8)
    write_project(tmp_path, first, second, rest=WITH_ADAPTER, more='labelled = "labelled.npz"')
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    argv = ["build", "multigraft.toml", "--report-dir", "report", "--keep-float", "second/adapter.*"]
    assert main(argv) == 0
    printed = capfd.readouterr().out
    answers = Engine(Bundle.open(tmp_path / "pair.graft")).run(frames(1)[0]).answers
    assert set(answers) == {"first", "second"}
    summary = Summary.load(tmp_path / "report" / "summary.json")
    told = "\n".join(summary.not_compared)
    for failed in (
        "networks apart, which could not be converted: keep_float: 'second/adapter.*' matches no layer",
        "accuracy on labelled frames: ",
        "heat maps of similarity: ",
        "the page of the report: ",
    ):
        assert failed in told and failed in printed
    assert summary.weights_bytes.separate is None and summary.latency_us.separate is None
    assert summary.latency_us.bundle and summary.latency_us.samples
    assert "Wrote pair.graft." in printed and not (tmp_path / "pair.graft.steps").exists()


def test_what_could_not_be_compared_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx2tf_environment: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labelled.npz").write_bytes(b"no arrays")
    first = residual_network("first", 1)
    write_project(tmp_path, first, rest=BUDGET, more='labelled = "labelled.npz"')
    assert main(["build", "multigraft.toml", "--report-dir", "report"]) == 0
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "Not compared: accuracy on labelled frames: " in page
    assert (tmp_path / "report" / "similarity.json").is_file()


def test_a_refusal_after_grafting_keeps_the_steps_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    monkeypatch.chdir(tmp_path)
    first = residual_network("first", 1)
    write_project(tmp_path, first, perturbed(first, "second", 0.002), rest=BUDGET)
    assert main(["build", "multigraft.toml", "--keep-float", "no_such_layer"]) == 2
    assert "'no_such_layer' matches no layer" in capfd.readouterr().err
    steps = {path.name.partition("-")[0] for path in (tmp_path / "pair.graft.steps").iterdir()}
    assert steps == {"similarity", "graft", "float"}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished graft was done again")

    monkeypatch.setattr("multigraft.converters.graft.search.evaluate", refuse)
    assert main(["build", "multigraft.toml"]) == 0
    again = capfd.readouterr().err
    assert "converting with onnx2tf" not in again and "compare representations" not in again
    assert (tmp_path / "pair.graft").is_file() and not (tmp_path / "pair.graft.steps").exists()
