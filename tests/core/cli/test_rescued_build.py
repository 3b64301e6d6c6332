"""A network that int8 ruins, through the command: layers stay float until the budget is kept, and firmware says why.

Its last layer has an outlier in every row, on a channel that is always 0: one scale a row leaves its other weights no
bits.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine
from tests.converters.onnx_builder import OnnxBuilder

SETTINGS = """
frames = "frames.npy"
[bundle]
name = "kind"
[budget]
min_agreement = 0.9
[graft]
fit_frames = 200
[convert]
rescue = "{rescue}"
keep_float = [{kept}]
[[task]]
name = "kind"
model = "kind.onnx"
kind = "classification"
labels = ["a", "b", "c", "d", "e", "f"]
[task.preprocessing]
size = [16, 16]
mean = 127.5
scale = 0.0157
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx2tf_environment: object) -> Path:
    monkeypatch.chdir(tmp_path)
    b = OnnxBuilder()
    model = b.model(b.classifier("kind", b.conv_relu("first", b.input("image", 3, 16, 16), 8), 6))
    for stored in model.graph.initializer:
        value = numpy_helper.to_array(stored).copy()
        if value.shape in ((6, 8), (8, 6)):
            rows = value if value.shape == (6, 8) else value.T
            rows[:, 0] = 2000 * np.abs(rows).max()
        elif value.shape[0] == 8:
            value[0] = -abs(value[0]) if value.ndim == 1 else 0
        else:
            continue
        stored.CopyFrom(numpy_helper.from_array(value, stored.name))
    onnx.save(model, tmp_path / "kind.onnx")
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 200, (400, 1, 1, 3)) + rng.integers(0, 56, (400, 16, 16, 3))
    np.save(tmp_path / "frames.npy", colours.astype(np.uint8))
    return tmp_path


def build(project: Path, capfd: pytest.CaptureFixture[str], rescue: str, kept: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    (project / "multigraft.toml").write_text(SETTINGS.format(rescue=rescue, kept=kept), "utf-8")
    code = main(["build", "multigraft.toml", "--json"])
    return code, *capfd.readouterr()


def test_a_build_keeps_its_budget_by_layers_in_float(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, said = build(project, capfd, "none")
    assert code == 3 and "kind.missed.graft misses the budget: min_agreement = 0.9" in said

    code, printed, said = build(project, capfd, "float")
    assert code == 0 and "So these stay float32: kind/kind (" in said
    summary = json.loads(printed)
    assert summary["budget"]["missed"] == [] and any("stay float32: kind/kind (" in note for note in summary["notes"])
    (task,) = summary["tasks"]
    assert task["int8_agreement"]["lower_bound"] >= 0.9
    assert [segment["precision"] for segment in summary["graph"]] == ["int8+float32"]
    frame = np.load(project / "frames.npy")[0]
    assert Engine(Bundle.open(project / "kind.graft")).run(frame).answers["kind"]

    assert main(["firmware", "kind.graft", "--board", "mps2-an386", "-o", "fw"]) == 2
    refusal = capfd.readouterr().err.splitlines()[-1]
    assert "'kind/kind' stayed float32, because too few answers stayed equal in int8" in refusal
    assert 'rescue = "none"' in refusal and not (project / "fw").exists()


def test_a_layer_that_was_asked_to_stay_float_is_no_rescue(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, said = build(project, capfd, "float", '"Gemm"')
    assert code == 0 and "stay float32" not in said
    assert main(["firmware", "kind.graft", "--board", "mps2-an386", "-o", "fw"]) == 2
    refusal = capfd.readouterr().err
    assert "layers of 'head_kind' stayed float32" in refusal and "keep_float" in refusal
