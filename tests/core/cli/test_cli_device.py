"""``run``, ``inspect`` and ``bench`` as a user calls them: output, exit codes, and one sentence for each mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.errors import MissingDependencyError
from multigraft.runtime.backends import load_backend
from tests.bundle_builder import build


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``multigraft build`` leaves it, and frames."""
    folder = tmp_path_factory.mktemp("home")
    built = build()
    built.bundle.write(folder / "home.graft")
    (folder / "home.uncut.tflite").write_bytes(built.uncut)
    (folder / "home.separate").mkdir()
    for task, data in built.separate.items():
        (folder / "home.separate" / f"{task}.tflite").write_bytes(data)
    frames = np.random.default_rng(4).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.save(folder / "frames.npy", frames)
    (folder / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "frames" / f"{number}.png")
    return folder


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_run_prints_a_line_per_frame(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(home / "home.graft"), "--source", str(home / "frames.npy")]) == 0
    result = lines(capsys)
    assert [line["frame"] for line in result] == [0, 1, 2]
    for line in result:
        assert set(line["answers"]) == {"garment", "digit"}
        assert line["answers"]["digit"]["label"] == f"digit {line['answers']['digit']['index']}"
        assert set(line["latency_us"]["segments"]) == {"trunk", "head_garment", "head_digit"}


def test_run_names_the_image_and_answers_what_was_asked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(home / "home.graft"), "--source", str(home / "frames"), "--tasks", "digit", "--frames", "2"]
    assert main([*arguments, "--json"]) == 0
    images = lines(capsys)
    assert [line["file"] for line in images] == ["0.png", "1.png"]
    assert all(set(line["answers"]) == {"digit"} for line in images)
    assert main(["run", str(home / "home.graft"), "--source", str(home / "frames.npy"), "--tasks", "digit"]) == 0
    assert [line["answers"] for line in lines(capsys)][:2] == [line["answers"] for line in images]


def test_run_reads_every_kind_of_source(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("fake:40x30,frames=2", "fake:28x28,grey,frames=2"):
        assert main(["run", str(home / "home.graft"), "--source", source, "--no-self-test"]) == 0
        assert len(lines(capsys)) == 2


def test_inspect_prints_tables(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(home / "home.graft")]) == 0
    text = capsys.readouterr().out
    for word in ("Tasks", "garment", "trunk > head_digit", "1x14x14x16", "int8", "MACs", "golden.backend", "SHA-256"):
        assert word in text


def test_inspect_as_json_is_the_manifest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(home / "home.graft"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [task["name"] for task in data["tasks"]] == ["garment", "digit"]
    assert data["totals"]["segments"] == 3
    assert data["totals"]["weights_bytes"] == sum(segment["weights_bytes"] for segment in data["segments"])


def test_bench_measures_and_compares(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(home / "home.graft"), "--runs", "5", "--warmup", "1", "--against", "separate"]
    arguments += ["--against", "uncut", "--against", "uncut", str(home / "home.uncut.tflite")]
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["latency_us"]["total"]["samples"] == 5
    assert [c["against"] for c in data["against"]] == ["separate", "uncut", "uncut"]
    assert set(data["pss_kib"]) == {"bundle", "separate"}
    assert data["model_bytes"]["separate"] > 0
    assert data["machine"]["interpreter"].startswith("ai-edge-litert")
    assert (data["energy"] is None) == bool(data["energy_reason"])
    assert data["was_throttled"] in (None, False, True) and "temperature_c" in data


def test_bench_prints_units_samples_machine_and_why_energy_is_missing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", str(home / "home.graft"), "--runs", "4", "--warmup", "0", "--no-memory", "--no-energy"]
    named = [str(home / "home.separate" / f"{task}.tflite") for task in ("garment", "digit")]
    assert main([*arguments, "--source", str(home / "frames"), "--against", "separate", *named]) == 0
    text = capsys.readouterr().out
    for words in (
        "microseconds over 4 frames",
        "ai-edge-litert",
        "2 separate models",
        "not measured: not asked for",
        "Throttling: ",
    ):
        assert words in text


def test_a_deviation_from_the_golden_outputs_is_told_on_stderr(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(home / "home.graft"), "--source", "fake:frames=1", "--backend", "tflite-runtime"]
    code = main(arguments)
    captured = capsys.readouterr()
    try:
        load_backend("tflite-runtime")
    except MissingDependencyError as error:
        assert code == 2 and captured.err == f"multigraft: {error}\n"
    else:
        assert code == 0 and "LSB" in captured.err and "litert" in captured.err


def test_each_mistake_is_one_sentence_with_the_right_code(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, frames = str(home / "home.graft"), str(home / "frames.npy")
    (tmp_path / "empty").mkdir()
    data = (home / "home.graft").read_bytes()
    (tmp_path / "cut.graft").write_bytes(data[: len(data) // 2])
    edited = Bundle.open(bundle).deploy(tmp_path / "edited") / "manifest.json"
    edited.write_text(edited.read_text().replace("garment 1", "garment 9"))
    shutil.copy(home / "frames" / "0.png", tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:100])
    (tmp_path / "cut.tflite").write_bytes((home / "home.uncut.tflite").read_bytes()[:5000])
    np.save(tmp_path / "wrong.npy", np.zeros((2, 28, 28, 4), np.uint8))
    alone = shutil.copy(bundle, tmp_path / "alone.graft")
    short = ["--runs", "2", "--warmup", "0", "--no-memory", "--no-energy"]
    cases = (
        (["inspect", str(tmp_path / "gone.graft")], "does not exist"),
        (["inspect", str(tmp_path / "cut.graft")], "cut.graft"),
        (["inspect", str(tmp_path / "edited")], "digest"),
        (["inspect", frames], "not a whole .graft file"),
        (["run", bundle, "--source", str(tmp_path / "empty")], "no images"),
        (["run", bundle, "--source", str(tmp_path / "gone")], "does not exist"),
        (["run", bundle, "--source", str(tmp_path / "wrong.npy")], "(2, 28, 28, 4)"),
        (["run", bundle, "--source", str(tmp_path / "cut.png")], "cut.png"),
        (["run", bundle, "--source", frames, "--tasks", "weather"], "garment, digit"),
        (["run", bundle, "--source", frames, "--tasks", ","], "garment, digit"),
        (["run", bundle, "--source", frames, "--frames", "0"], "--frames"),
        (["run", bundle, "--source", frames, "--threads", "0"], "threads"),
        (["bench", bundle, *short, "--against", "before"], "--against before"),
        (["bench", bundle, *short, "--against", "uncut", "a.tflite", "b.tflite"], "--against uncut a"),
        (["bench", str(alone), *short, "--against", "uncut"], "alone.uncut.tflite"),
        (["bench", str(alone), *short, "--against", "separate"], "garment.tflite"),
        (["bench", bundle, *short, "--against", "uncut", str(tmp_path / "gone.tflite")], "gone.tflite"),
        (["bench", bundle, *short, "--against", "uncut", str(tmp_path / "cut.tflite")], "truncated"),
        (["bench", bundle, "--runs", "0"], "0 runs"),
    )
    for arguments, says in cases:
        assert main(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert captured.out == "", arguments
        (line,) = [said for said in captured.err.splitlines() if not said.startswith("INFO:")]
        assert line.startswith("multigraft: ") and says in line, (arguments, line)
