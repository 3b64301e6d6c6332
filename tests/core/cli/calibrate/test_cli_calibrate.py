"""The device half of field calibration through the command line, as a technician types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.calibrate import STEPS
from multigraft.cli.main import main
from multigraft.statistics import statistics_file
from tests.bundle_builder import build
from tests.calibration.networks import frames, taps_bundle
from tests.calibration.samples import released, statistics


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    taps_bundle().write("home.mgtaps")
    for number in (7, 8):
        np.save(f"site-{number}.npy", frames(160, number, light=1.0 if number == 7 else 0.4))
    return tmp_path


def collect(number: int, *options: str) -> int:
    name = f"site-{number}"
    fixed = ["--source", f"{name}.npy", "-o", f"{name}.mgstats", "--minibatch", "8", "--minimum-frames", "8"]
    return main(["calibrate", "collect", "home.mgtaps", *fixed, *options])


def test_collect_combine_report_validate_purge(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert collect(7) == 0 and collect(8, "--frames", "80") == 0
    assert "160 frames" in capsys.readouterr().out
    assert collect(8, "--json", "--keep-frames", "3") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == {
        "event": "done", "reason": "source ended", "frames": 160, "used": 80, "skipped": 0, "output": "site-8.mgstats",
        "release": 2, "released_frames": 160, "missing": 0,
    }  # fmt: skip
    assert lines[0]["event"] == "progress" and {"precision", "temperature_c", "free_bytes"} <= set(lines[0])
    assert main(["calibrate", "combine", "site-8.mgstats", "site-7.mgstats", "-o", "fleet.mgstats"]) == 0
    fleet = statistics_file.read("fleet.mgstats")
    assert fleet.sites == ("site-7", "site-8") and fleet.frames == 320
    assert main(["calibrate", "report", "fleet.mgstats", "-o", "report.html"]) == 0
    assert "site-7 and site-8 differ" in capsys.readouterr().out
    assert "site-8" in Path("report.html").read_text()
    command = ["calibrate", "validate", "home.mgtaps", "--against", "home.mgtaps", "--source", "site-7.npy"]
    assert main([*command, "-o", "v.json", "--min-agreement", "0.98"]) == 0
    validation = json.loads(Path("v.json").read_text())
    assert validation["frames"] == 160 and {t["name"] for t in validation["tasks"]} == {"garment", "digit"}
    assert all(t["value"] == 1 and t["lower_bound"] == pytest.approx(0.05 ** (1 / 160)) for t in validation["tasks"])
    assert main([*command, "--frames", "20", "--min-agreement", "0.98", "--json"]) == 1
    capsys.readouterr()
    assert main(["calibrate", "purge", "site-8.mgstats", "--store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 3
    assert not list(place.glob("site-8.mgstats.*")) and Path("site-8.mgstats").exists()


def test_validation_counts_what_differs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taps_bundle(width=5).write("other.graft")
    command = ["calibrate", "validate", "other.graft", "--against", "home.mgtaps", "--source", "site-7.npy", "--json"]
    assert main(command) == 0
    validation = json.loads(capsys.readouterr().out)
    assert all(0 <= t["lower_bound"] <= t["value"] < 1 for t in validation["tasks"])


WRONG = {
    "no taps bundle": ["collect", "home.graft", "--source", "site-7.npy", "-o", "a.mgstats"],
    "no such bundle": ["collect", "none.graft", "--source", "site-7.npy", "-o", "a.mgstats"],
    "no such source": ["collect", "home.mgtaps", "--source", "none.npy", "-o", "a.mgstats"],
    "no such folder": ["collect", "home.mgtaps", "--source", "site-7.npy", "-o", "none/a.mgstats"],
    "no minutes": ["collect", "home.mgtaps", "--source", "site-7.npy", "-o", "a.mgstats", "--minutes", "0"],
    "no memory": ["collect", "home.mgtaps", "--source", "site-7.npy", "-o", "a.mgstats", "--memory-mib", "0"],
    "small minibatch": ["collect", "home.mgtaps", "--source", "site-7.npy", "-o", "a.mgstats", "--minibatch", "3"],
    "combine nothing there": ["combine", "none.mgstats", "-o", "b.mgstats"],
    "combine twice": ["combine", "ok.mgstats", "./ok.mgstats", "-o", "b.mgstats"],
    "combine a bundle": ["combine", "home.mgtaps", "-o", "b.mgstats"],
    "report of a bundle": ["report", "home.mgtaps", "-o", "b.html"],
    "validate other tasks": ["validate", "home.graft", "--against", "home.mgtaps", "--source", "site-7.npy"],
    "validate no frames": [
        "validate", "home.mgtaps", "--against", "home.mgtaps", "--source", "site-7.npy", "--frames=0"
    ],
    "validate tolerance": [
        "validate", "home.mgtaps", "--against", "home.mgtaps", "--source", "site-7.npy", "--tolerance", "digit"
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    build((("pose", "regression"),)).bundle.write("home.graft")
    released(statistics(1, 4), Path("ok.mgstats"))
    before = {p.name for p in place.iterdir()}
    assert main(["calibrate", *WRONG[case]]) == 2
    error = capsys.readouterr().err.splitlines()
    said = [line for line in error if line.startswith("multigraft: ")]
    assert len(said) == 1 and said[0].endswith(".")
    assert {p.name for p in place.iterdir()} == before


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_help(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", step, "--help"])
    assert left.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_noise_is_declared_from_the_command_to_the_report(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert collect(7) == 0 and collect(8, "--epsilon", "8") == 0
    assert "(8, 1e-06)-differentially private for every frame" in capsys.readouterr().out
    plain, hidden = (statistics_file.read(f"site-{number}.mgstats") for number in (7, 8))
    assert plain.noise is None and hidden.noise is not None and hidden.frames == hidden.noise.frames == 160
    assert main(["calibrate", "combine", "site-7.mgstats", "site-8.mgstats", "-o", "fleet.mgstats", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["apart"][-1]
    assert "of its 320 frames 160 are (8, 1e-06)-differentially private" in said
    for name in ("site-8", "fleet"):
        assert main(["calibrate", "report", f"{name}.mgstats", "-o", "report.html"]) == 0
        assert "differentially private" in Path("report.html").read_text()
    assert "too noisy to choose by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--delta", "1e-6"), "--delta goes with --epsilon"),
        (("--epsilon", "0"), "epsilon is 0"),
        (("--epsilon", "1", "--delta", "0"), "delta is 0"),
        (("--epsilon", "1", "--precision", "0.02"), "frames must not decide when to stop"),
        (("--epsilon", "1", "--min-difference", "1"), "frames must not decide which frames are used"),
    ],
)
def test_noise_that_would_promise_too_much_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...], sentence: str
) -> None:
    assert collect(7, *wrong) == 2
    assert sentence in capsys.readouterr().err and not list(place.glob("site-7.mgstats*"))


def test_without_opendp_a_run_with_noise_does_not_begin(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "opendp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opendp", None)
    assert collect(7, "--epsilon", "1") == 2
    assert "noise in statistics needs OpenDP, which is not installed; run: " in capsys.readouterr().err
    assert not list(place.glob("site-7.mgstats*"))
    assert collect(7) == 0
