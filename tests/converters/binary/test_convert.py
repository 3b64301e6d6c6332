"""A binary network from ONNX to a bundle that runs, with the real onnx2tf."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.delegate import library
from multigraft.tflite import tflite_file
from tests.converters.binary.test_signs import answers
from tests.converters.onnx_builder import OnnxBuilder
from tests.runtime.conftest import BACKENDS


def chained() -> onnx.ModelProto:
    """Two binary layers, a batch norm between them, and ONNX's symmetric padding with a stride."""
    b = OnnxBuilder(11)
    for name, value in (("zero", 0), ("one", 1), ("minus", -1)):
        b.constant(name, np.array(value, np.float32))

    def binary(name: str, x: str, outputs: int, stride: int) -> str:
        channels = b.channels[x]
        b.add("GreaterOrEqual", f"{name}/above", x, "zero")
        signs = b.add("Where", f"{name}/signs", f"{name}/above", "one", "minus", channels=channels)
        weights = 0.3 * b.rng.choice([-1, 1], (outputs, channels, 3, 3))
        b.constant(f"{name}/weight", weights.astype(np.float32))
        y = b.add("Conv", name, signs, f"{name}/weight", channels=outputs, pads=[1] * 4, strides=[stride] * 2)
        held = (b.rng.uniform(0.5, 1.5, outputs), b.rng.normal(0, 1, outputs), b.rng.normal(0, 1, outputs))
        names = [b.constant(f"{name}/{i}", v.astype(np.float32)) for i, v in enumerate((*held, held[0]))]
        return b.add("BatchNormalization", f"{name}/norm", y, *names)

    x = b.conv("first", b.input("x", 3, 16, 16), 32)
    return b.model(b.classifier("logits", binary("last", binary("middle", x, 64, 2), 32, 1), 4))


@pytest.mark.usefixtures("onnx2tf_environment")
def test_a_bundle_answers_as_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = chained()
    onnx.save(model, tmp_path / "net.onnx")
    bundle = tmp_path / "net.graft"
    arguments = ["--precision", "binary", "--no-fallback", "-o", str(bundle)]
    assert main(["convert", str(tmp_path / "net.onnx"), *arguments]) == 0
    said = capsys.readouterr().out
    assert "binary layers: 2, of which 1 pass bits on" in said and "A fallback" not in said
    assert Bundle.open(bundle).fallback() is None
    frames = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    differing = 0
    engine = Engine(bundle)
    for frame in frames:
        (given,) = engine.run(frame).answers["net"].to_json()["outputs"]
        wanted = answers(model, frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
        differing += not np.allclose(given, wanted.reshape(-1), atol=1e-4)
    assert differing <= 1  # where rounding decides about a sign


@pytest.mark.usefixtures("onnx2tf_environment")
@pytest.mark.parametrize("precision", ["binary", "binary-int8"])
def test_without_a_delegate_the_fallback_gives_the_same_answers(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(chained(), tmp_path / "net.onnx")
    frames = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    bundle, out = tmp_path / "net.graft", []
    arguments = ["--source", str(tmp_path / "frames.npy"), "-o", str(bundle), "--json"]
    assert main(["convert", str(tmp_path / "net.onnx"), "--precision", precision, *arguments]) == 0
    fallback = Bundle.open(bundle).fallback()
    assert fallback is not None and json.loads(capsys.readouterr().out)["fallback_bytes"] == len(fallback.model)
    operators = fallback.manifest.segments[0].operators
    assert not [name for name in operators if name.startswith("Lce")]
    held = library.__file__
    for backend in BACKENDS:
        for place in (held, str(tmp_path / "library.py")):
            monkeypatch.setattr(library, "__file__", place)
            engine = Engine(bundle, backend=backend)
            assert (engine.fallback_reason is None) == (place == held)
            out.append([engine.run(frame).answers["net"].to_json()["outputs"][0] for frame in frames])
        np.testing.assert_allclose(out[-1], out[-2], atol=1e-5 if precision == "binary" else 1e-6)
    assert main(["run", str(bundle), "--source", str(tmp_path / "frames.npy"), "--json"]) == 0
    assert "the bundle's fallback runs in place of its first model" in capsys.readouterr().err


@pytest.mark.usefixtures("onnx2tf_environment")
def test_integers_around_bits(tmp_path: Path) -> None:
    onnx.save(chained(), tmp_path / "net.onnx")
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8))
    arguments = ["--source", str(tmp_path / "frames.npy"), "--uncut", str(tmp_path / "net.tflite")]
    name = str(tmp_path / "net.graft")
    assert main(["convert", str(tmp_path / "net.onnx"), "--precision", "binary-int8", "-o", name, *arguments]) == 0
    graph = tflite_file.read((tmp_path / "net.tflite").read_bytes()).main
    layers = {op.outputs[0]: op for op in graph.ops if op.custom_code == "LceBconv2d"}
    assert [graph.tensors[name].dtype for name in layers] == ["int32", "int8"]
    assert {graph.tensors[op.outputs[0]].dtype for op in graph.ops if op.name == "CONV_2D"} == {"int8"}
    assert main(["firmware", name, "--board", "mps2-an386", "-o", str(tmp_path / "fw")]) == 0
