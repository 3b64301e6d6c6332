"""The whole field round on replayed sources, through the command line and the real converter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.statistics_input import ranges_from_statistics, similarity_from_statistics
from multigraft.converters.importing.importer import load_task
from multigraft.converters.settings.settings import Settings
from multigraft.files import sha256_of
from multigraft.statistics import statistics_file
from tests.converters.graft.networks import frames, perturbed, residual_network

FRAMES = 'frames = "frames.npy"'
SETTINGS = """
[bundle]
name = "pair"
[budget]
min_agreement = 0.9
[graft]
fit_frames = 200
[convert]
precision = "float32"
"""
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labels = ["no", "maybe", "yes"]
preprocessing = {{ size = [8, 8], color = "grey" }}
"""


@pytest.fixture
def project(onnx2tf_environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two related networks, frames for the build, and what two sites will see."""
    first = residual_network("first", 1)
    onnx.save(first.model, tmp_path / "first.onnx")
    onnx.save(perturbed(first, "second", 0.002).model, tmp_path / "second.onnx")
    images = np.stack(frames(1100))
    np.save(tmp_path / "frames.npy", images[:400])
    np.save(tmp_path / "site-7.npy", images[400:700])
    np.save(tmp_path / "site-8.npy", images[700:1100])
    rest = SETTINGS + "".join(TASK.format(name=n) for n in ("first", "second"))
    (tmp_path / "multigraft.toml").write_text(FRAMES + rest)
    (tmp_path / "no-frames.toml").write_text('statistics = "fleet.mgstats"' + rest)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_prepare_collect_combine_report_build_validate(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*argv: str) -> None:
        assert main(list(argv)) == 0, capsys.readouterr().err

    run("calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps")
    for site in ("site-7", "site-8"):
        collect = ["calibrate", "collect", "home.mgtaps", "--source", f"{site}.npy", "--minibatch", "8"]
        run(*collect, "--frames", "128", "-o", f"{site}.mgstats")
        run(*collect, "-o", f"{site}.mgstats")
    run("calibrate", "combine", "site-7.mgstats", "site-8.mgstats", "-o", "fleet.mgstats")
    fleet = statistics_file.read("fleet.mgstats")
    assert fleet.frames == 700 and fleet.sites == ("site-7", "site-8")
    settings = Settings.load("multigraft.toml")
    networks = [load_task(task, project) for task in settings.tasks]
    table = similarity_from_statistics(fleet, networks)
    # The second network is the first with a little noise: the same layer is alike in both.
    assert len(table.points_of("first")) >= 3
    for a, b in zip(table.points_of("first"), table.points_of("second"), strict=True):
        assert table(a, b) > 0.95
    ranges = ranges_from_statistics(fleet, networks)
    assert {n.input for n in networks} | {o for n in networks for o in n.outputs} <= ranges.keys()
    run("calibrate", "report", "fleet.mgstats", "-o", "report.html")
    run("build", "multigraft.toml", "--statistics", "fleet.mgstats", "-o", "home.graft")
    built = Bundle.open("home.graft").manifest
    assert built.provenance["statistics"]["sha256"] == sha256_of(Path("fleet.mgstats").read_bytes())
    capsys.readouterr()
    validate = ["calibrate", "validate", "home.graft", "--against", "home.mgtaps", "--source", "site-8.npy"]
    run(*validate, "-o", "site-8.validation.json", "--min-agreement", "0.85")
    validation = json.loads(Path("site-8.validation.json").read_text())
    assert validation["frames"] == 400
    assert {t["name"] for t in validation["tasks"]} == {"first", "second"}
    assert all(t["lower_bound"] >= 0.85 for t in validation["tasks"])

    run("build", "no-frames.toml", "-o", "alone.graft", "--share", "second=block", "--precision", "int8")
    captured = capsys.readouterr()
    assert "fleet.mgstats gives similarity and ranges; refit and acceptance need frames" in captured.err
    assert "Agreement of the bundle was not measured" in captured.out
    alone = Bundle.open("alone.graft").manifest
    assert {s.precision for s in alone.segments} == {"int8"} and alone.segments[0].name == "trunk"
    assert alone.task("second").share_point == "block" and "grafted_agreement" not in alone.task("second").fidelity
    low, high = ranges["first/logits"]
    assert alone.tensor("first/logits").scale == pytest.approx((high - low) / 255, rel=1e-3)
    run("calibrate", "validate", "alone.graft", *validate[3:])


def test_layers_refitted_on_the_device_are_built_at_home(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*argv: str) -> None:
        assert main(list(argv)) == 0, capsys.readouterr().err

    run("calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps")
    run("calibrate", "collect", "home.mgtaps", "--source", "site-7.npy", "-o", "fleet.mgstats")
    run("calibrate", "plan", "no-frames.toml", "--share", "second=block", "-o", "home.mgplan")
    capsys.readouterr()
    run("calibrate", "refit", "home.mgplan", "--source", "site-8.npy", "--frames", "200", "-o", "a.mgrefit", "--json")
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    measured = done["grafts"][0]["agreement"]
    assert done["grafts"][0]["frames"] == 200 and measured["frames"] == 200 and measured["value"] > 0.9
    run("build", "no-frames.toml", "--refit", "a.mgrefit", "-o", "home.graft")
    built = Bundle.open("home.graft").manifest
    task = built.task("second")
    # second is a relative of first: the refit stands in for sharing its layers raw, with the device's own figure.
    assert (task.share_point, task.fidelity["method"]) == ("block", "refit")
    assert task.fidelity["grafted_agreement"] == measured
    assert built.provenance["refit"]["sha256"] == sha256_of(Path("a.mgrefit").read_bytes())
    strict = Path("no-frames.toml").read_text().replace("min_agreement = 0.9", "min_agreement = 0.999")
    Path("strict.toml").write_text(strict)
    run("graft", "strict.toml", "--refit", "a.mgrefit", "-o", "strict.onnx")
    assert "nothing shared" in (out := capsys.readouterr().out) and "second is left unshared, its refit shows" in out
    run("graft", "multigraft.toml", "--refit", "a.mgrefit", "--json", "-o", "home.onnx")
    evaluated = json.loads(capsys.readouterr().out)["evaluated"]
    # With frames the same weights are judged again at home, on a third of the held-out ones: the others prove.
    assert [(e["task"], e["method"], e["agreement"]["frames"]) for e in evaluated] == [("second", "refit", 66)]
