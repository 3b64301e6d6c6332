"""The whole field round where two networks look at what a third one finds, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.collected import Collected
from multigraft.converters.importing.importer import load_task
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError
from multigraft.runtime import Engine
from multigraft.statistics import statistics_file
from tests.converters.cascade_scene import PERSON, detector, pictures
from tests.converters.graft.networks import perturbed, residual_network

SETTINGS = """
statistics = ["fleet.mgstats", "fleet.person.mgstats"]
[bundle]
name = "people"
[budget]
min_agreement = 0.9
[convert]
precision = "int8"
[[task]]
name = "person"
model = "person.onnx"
kind = "detection"
labels = ["person"]
preprocessing = { size = [64, 64], color = "rgb" }
"""
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labels = ["no", "maybe", "yes"]
preprocessing = {{ size = [8, 8], color = "grey" }}
on = {{ task = "person", margin = 0.1, top = 2 }}
"""


@pytest.fixture
def project(onnx2tf_environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector, two related networks on its boxes, and what two sites will see; no frames at home."""
    monkeypatch.chdir(tmp_path)
    detector(tmp_path / "person.onnx", 64, 0, PERSON)
    first = residual_network("first", 1)
    onnx.save(first.model, "first.onnx")
    onnx.save(perturbed(first, "second", 0.002).model, "second.onnx")
    random = np.random.default_rng(0)
    seen = np.stack(pictures(900, seed=3)).astype(np.int16)
    # What is inside a person differs from person to person.
    seen += (seen > 0) * random.integers(-60, 56, (len(seen), 64, 64, 1))
    for start, site in ((0, "site-7"), (450, "site-8")):
        np.save(f"{site}.npy", np.clip(seen[start : start + 450], 0, 255).astype(np.uint8))
    Path("multigraft.toml").write_text(SETTINGS + "".join(TASK.format(name=n) for n in ("first", "second")))
    for name in ("fleet.mgstats", "fleet.person.mgstats"):
        Path(name).touch()
    return tmp_path


def test_statistics_of_crops_serve_what_those_of_frames_serve(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # These networks of random weights differ by more from one interpreter to the other than a self-test lets pass.
    monkeypatch.setenv("MULTIGRAFT_BACKEND", "litert")

    def run(*argv: str) -> None:
        assert main(list(argv)) == 0, capsys.readouterr().err

    run("calibrate", "prepare", "multigraft.toml", "--tasks", "first,second", "-o", "home.mgtaps")
    taps = Bundle.open("home.mgtaps").manifest
    assert {task.name for task in taps.tasks} == {"person", "first", "second"}
    for site in ("site-7", "site-8"):
        collect = ["calibrate", "collect", "home.mgtaps", "--source", f"{site}.npy", "--minibatch", "8"]
        run(*collect, "--minimum-frames", "16", "--min-difference", "0", "-o", f"{site}.mgstats", "--json")
        done = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert done["crops"][0]["on"] == "person" and done["crops"][0]["tasks"] == ["first", "second"]
        assert done["crops"][0]["crops"] > done["crops"][0]["frames"] > 150
    run("calibrate", "combine", "site-7.mgstats", "site-8.mgstats", "-o", "fleet.mgstats")
    run("calibrate", "combine", "site-7.person.mgstats", "site-8.person.mgstats", "-o", "fleet.person.mgstats")
    fleet = statistics_file.read("fleet.person.mgstats")
    assert fleet.crops > fleet.frames and fleet.sites == ("site-7", "site-8")
    run("calibrate", "report", "fleet.person.mgstats", "-o", "report.html")
    assert f"{fleet.crops:,} crops" in Path("report.html").read_text("utf-8")

    settings = Settings.load("multigraft.toml")
    networks = [load_task(task, project) for task in settings.tasks]
    collected = Collected.open(settings.statistics)
    table = collected.similarity(networks)
    for a, b in zip(table.points_of("first"), table.points_of("second"), strict=True):
        assert table(a, b) > 0.95
    assert all(table(a, b) == 0 for a in table.points_of("person") for b in table.points_of("first"))
    ranges = collected.ranges(networks)
    run("build", "multigraft.toml", "--share", "second=block", "-o", "home.graft")
    built = Bundle.open("home.graft").manifest
    used = {task.name: set(task.segments) for task in built.tasks}
    assert used["first"] & used["second"] == {"trunk"} and not used["person"] & used["first"]
    assert [f["networks"] for f in built.provenance["statistics"]["files"]] == [["person"], ["first", "second"]]
    low, high = ranges["first/logits"]
    assert built.tensor("first/logits").scale == pytest.approx((high - low) / 255, rel=1e-3)
    assert Engine("home.graft").run(np.load("site-7.npy")[1]).stages[0].crops > 0
    capsys.readouterr()
    run("calibrate", "validate", "home.graft", "--against", "home.mgtaps", "--source", "site-8.npy", "--json")
    validated = {t["name"]: t for t in json.loads(capsys.readouterr().out)["tasks"]}
    assert validated["second"]["frames"] > 400 and validated["second"]["value"] > 0.85

    run("calibrate", "plan", "multigraft.toml", "--share", "second=block", "-o", "home.mgplan")
    capsys.readouterr()
    run("calibrate", "refit", "home.mgplan", "--source", "site-8.npy", "--frames", "200", "-o", "a.mgrefit", "--json")
    refitted = json.loads(capsys.readouterr().out.splitlines()[-1])["grafts"][0]
    assert refitted["frames"] == 200 and refitted["agreement"]["frames"] > 200
    assert refitted["agreement"]["value"] > 0.9
    run("build", "multigraft.toml", "--refit", "a.mgrefit", "-o", "again.graft")
    task = Bundle.open("again.graft").manifest.task("second")
    assert task.fidelity["method"] == "refit" and task.on is not None


def test_statistics_that_are_not_of_these_crops_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*argv: str) -> None:
        assert main(list(argv)) == 0, capsys.readouterr().err

    run("calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps")
    collect = ["calibrate", "collect", "home.mgtaps", "--source", "site-7.npy", "--minibatch", "8"]
    run(*collect, "--minimum-frames", "16", "--min-difference", "0", "-o", "site-7.mgstats")
    settings = Settings.load("multigraft.toml")
    networks = [load_task(task, project) for task in settings.tasks]
    whole, crops = (Collected.open([Path(name)]).files[0] for name in ("site-7.mgstats", "site-7.person.mgstats"))
    assert len(Collected((whole, crops)).by_file(networks)) == 2
    with pytest.raises(InputError, match=r"no network 'first'.*name the file of its crops, too"):
        Collected((whole,)).by_file(networks)
    with pytest.raises(InputError, match="both hold network 'person'"):
        Collected.open([Path("site-7.mgstats")] * 2)
    wider = Path("multigraft.toml").read_text().replace("margin = 0.1", "margin = 0.3")
    Path("multigraft.toml").write_text(wider)
    networks = [load_task(task, project) for task in Settings.load("multigraft.toml").tasks]
    with pytest.raises(InputError, match=r"'first' is not of the crops that \[task.on\] describes"):
        Collected((whole, crops)).by_file(networks)
    Path("multigraft.toml").write_text(wider.replace("on = {", "# {"))
    networks = [load_task(task, project) for task in Settings.load("multigraft.toml").tasks]
    with pytest.raises(InputError, match="'first' is not of whole frames"):
        Collected((whole, crops)).by_file(networks)
