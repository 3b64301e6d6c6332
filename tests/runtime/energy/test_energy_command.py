"""``multigraft energy`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from multigraft.cli.main import main
from multigraft.devices.power import power
from multigraft.devices.thermal import ThrottlingWatch
from multigraft.runtime.energy import windows
from tests.bundle_builder import build


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build().bundle.write(tmp_path_factory.mktemp("energy") / "home.graft"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a tenth of a second: nobody reads the figures."""
    monkeypatch.setattr(windows, "LEAST_WINDOW_S", 0.02)
    monkeypatch.setattr(windows, "LEAST_SAMPLES", 3)


def test_without_a_sensor_nothing_is_measured_and_nothing_guessed(
    bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(power, "find_power_meter", lambda: (None, "no power sensor: none here"))
    monkeypatch.setattr("multigraft.devices.power.meters.find_power_meter", power.find_power_meter)
    assert main(["energy", bundle]) == 0
    said = capsys.readouterr().out
    assert "Energy: not measured: no power sensor: none here." in said
    assert "stimate" not in said
    assert main(["energy", bundle, "--estimate", "--tasks", "digit"]) == 0
    said = capsys.readouterr().out
    assert "not measured: no power sensor" in said and "Estimate, not measured (table 45nm" in said
    assert "head_digit" in said and "head_garment" not in said
    assert main(["energy", bundle, "--meter", "none", "--estimate", "5,160", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] is None and told["not_measured"] == "not asked for"
    assert told["estimate"]["estimated_j_per_frame"] > 0


@pytest.mark.usefixtures("quick")
def test_a_measurement_tells_frame_parts_tasks_and_draws_its_curve(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["energy", bundle, "--meter", "fake:2.5", "--minutes", "0.2", "--every", "digit=2"]
    picture = tmp_path / "curve.png"
    assert main([*arguments, "--picture", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "Meter: fake power meter, 200 values a second" in said
    assert "(95 %), idle subtracted" in said
    for name in ("preprocessing of image", "trunk", "head_digit", "between parts", "Tasks, per frame (shapley)"):
        assert name in said
    with Image.open(picture) as opened:
        assert opened.size == (1200, 480)


@pytest.mark.usefixtures("quick")
def test_figures_of_a_throttled_run_are_told_as_invalid_and_fail_the_command(
    bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ThrottlingWatch, "was_throttled", lambda self: True)
    assert main(["energy", bundle, "--meter", "fake", "--minutes", "0.05", "--json"]) == 2
    done = capsys.readouterr()
    assert json.loads(done.out)["measured"]["is_valid"] is False
    assert "these figures are invalid" in done.err and "stronger power supply" in done.err


def test_a_single_inference_that_the_meter_cant_tell_is_refused(
    bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["energy", bundle, "--meter", "fake", "--single"]) == 2
    assert "gives a value every 5 ms, so that one alone can't be told" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no bundle"),
        (["BUNDLE", "--minutes", "0"], "--minutes 0"),
        (["BUNDLE", "--error", "100"], "--error 100"),
        (["BUNDLE", "--meter", "volts"], "there is no power meter volts"),
        (["BUNDLE", "--every", "digit"], "--every digit is not understood"),
        (["BUNDLE", "--meter", "fake", "--every", "door=2"], "door=2"),
        (["BUNDLE", "--estimate", "7nm"], "there is no table 7nm"),
        (["--calibrate", "none"], "name a USB meter"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], said: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["energy", *(bundle if a == "BUNDLE" else a for a in arguments)]) == 2
    assert said in capsys.readouterr().err
