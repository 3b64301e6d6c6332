""".tflite files as tasks: float ones as any network, quantised ones as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine
from tests.converters.graft.networks import residual_network
from tests.converters.importing.tflite.graphs import Sketch
from tests.converters.packing.integer_files import saved
from tests.core.cli.build_project import TASK, write_project
from tests.runtime.delegate.binary_cases import Conv, answer_of, model_of, with_values

GENEROUS = """
[budget]
min_agreement = 0.3
[graft]
fit_frames = 200
"""


def float_file(folder: Path) -> Path:
    """Three classes of 8 x 8 grey pixels, float32."""
    s = Sketch()
    x = s.conv(s.input(1, 8, 8, 1), 4, fused_activation_function="RELU")
    x = s.conv(x, 6, stride=2, fused_activation_function="RELU")
    mean = s.op("MEAN", (x, s.numbers(1, 2)), (1, 6), keep_dims=False)
    y = s.op("FULLY_CONNECTED", (mean, s.weights(3, 6), s.weights(3)), (1, 3))
    path = folder / "floating.tflite"
    path.write_bytes(s.file(y))
    return path


def project(folder: Path, *names: str, rest: str = GENEROUS) -> None:
    """The ONNX network ``first`` if it is named, and tasks whose models are .tflite files of their names."""
    networks = [residual_network("first", 1)] if "first" in names else []
    settings = write_project(folder, *networks, rest=rest)
    tasks = [TASK.format(name=n, more="").replace(f"{n}.onnx", f"{n}.tflite") for n in names if n != "first"]
    settings.write_text(settings.read_text("utf-8") + "".join(tasks), "utf-8")
    saved(folder, "int8")
    saved(folder, "uint8")
    float_file(folder)


def printed(capfd: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capfd.readouterr().out)


def test_float_and_quantised_files_build_beside_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, "first", "int8", "floating")
    assert main(["build", "multigraft.toml", "--json", "--report-dir", "report"]) == 0
    summary = printed(capfd)
    bundle = Bundle.open(tmp_path / "pair.graft")
    assert [t.name for t in bundle.manifest.tasks] == ["first", "int8", "floating"]
    kept = bundle.manifest.task("int8")
    assert kept.segments == ("head_int8",) and kept.fidelity["bundle_agreement"]["value"] == 1.0
    assert "Task int8 is quantised already, and stands as it is." in summary["notes"]
    assert summary["not_compared"] == []
    assert {t["name"]: t["relation"] for t in summary["tasks"]}["int8"] == "unshared"
    assert summary["weights_bytes"]["bundle"] == sum(s.weights_bytes for s in bundle.manifest.segments)
    assert {path.stem for path in (tmp_path / "pair.separate").iterdir()} == {"first", "int8", "floating"}
    assert main(["run", "pair.graft", "--source", "frames.npy", "--frames", "1"]) == 0
    assert set(printed(capfd)["answers"]) == {"first", "int8", "floating"}


def test_quantised_files_alone_build_without_a_converter_and_count_in_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, "int8", "uint8", rest=GENEROUS.replace("0.3", "0.3\nmax_weights_bytes = 10"))
    assert main(["build", "multigraft.toml", "--json"]) == 3
    missed = printed(capfd)["budget"]["missed"]
    bundle = Bundle.open(tmp_path / "pair.missed.graft")
    assert [(m["key"], m["figure"]) for m in missed] == [
        ("max_weights_bytes", sum(s.weights_bytes for s in bundle.manifest.segments))
    ]
    assert main(["build", "multigraft.toml", "--allow-miss"]) == 0
    assert "Every network is quantised already" in capfd.readouterr().out
    assert main(["inspect", "pair.graft"]) == 0
    assert "head_uint8" in capfd.readouterr().out


@pytest.mark.parametrize("output", ["float32", "int8"])
def test_a_file_of_larq_compute_engine_becomes_a_bundle_that_answers_as_it_does(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    case = with_values(Conv(height=8, width=8, channels=5, outputs=40, output=output), rng)
    Path("bits.tflite").write_bytes(model_of(case))
    frames = rng.normal(0, 1, (4, 8, 8, 5)).astype(np.float32)
    np.save("frames.npy", frames)
    assert main(["check", "bits.tflite", "--json"]) == 0
    assert printed(capfd)["can_be_built"]
    assert main(["convert", "bits.tflite", "-o", "bits.graft", "--source", "frames.npy"]) == 0
    assert "bit for bit" in capfd.readouterr().out
    (segment,) = Bundle.open(tmp_path / "bits.graft").manifest.segments
    assert segment.precision == ("binary" if output == "float32" else "binary-int8")
    engine = Engine(tmp_path / "bits.graft")
    (tensor,) = engine.manifest.task("bits").outputs
    for frame in frames:
        engine.run(frame)
        np.testing.assert_array_equal(engine.last_written(tensor), answer_of(case, frame[None]))


def test_check_says_what_becomes_of_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(float_file(tmp_path)), "--json"]) == 0
    found = printed(capfd)
    assert found["can_be_built"] and found["exporter"] == "TFLite" and len(found["cut_points"]) == 2
    assert {row["operator"] for row in found["rows"]} == {"Conv", "Relu", "ReduceMean", "Gemm"}
    assert main(["check", str(saved(tmp_path, "int8")), "--json"]) == 0
    found = printed(capfd)
    assert found["inputs"] == ["image: int8 1 x 8 x 8 x 1"] and found["macs"] > 0
    assert found["notes"] == ["it computes with integers or bits: it joins a bundle as it is, and shares no trunk"]
    assert found["firmware"]["CONV_2D"] == []
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(float_file(tmp_path).read_bytes()[:400])
    assert main(["check", str(damaged), "--json"]) == 2
    assert "truncated or damaged" in printed(capfd)["problems"][0]["problem"]


def test_convert_takes_a_file_of_either_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], onnx2tf_environment: object
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, "int8")
    for name in ("int8", "floating"):
        assert main(["convert", f"{name}.tflite", "-o", f"{name}.graft", "--source", "frames.npy"]) == 0
        assert "bit for bit" in capfd.readouterr().out
        assert [t.name for t in Bundle.open(tmp_path / f"{name}.graft").manifest.tasks] == [name]
    assert main(["convert", "int8.tflite", "-o", "x.graft", "--float", "x.tflite"]) == 2
    assert "leave --float out" in capfd.readouterr().err
