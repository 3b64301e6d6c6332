"""Quantisers of QONNX give what their definition says, and networks of Brevitas' form become bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.cli.main import main
from multigraft.converters.importing.onnx_reader import read_onnx
from multigraft.errors import UnsupportedOperatorError
from multigraft.runtime import Engine
from multigraft.tensors.arrays import Array
from tests.converters.binary.test_signs import answers
from tests.converters.onnx_builder import OnnxBuilder

DOMAIN = "qonnx.custom_op.general"


def saved(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], opset: int = 17) -> Path:
    """A model of these nodes, ``x`` [1, 4, 5, 5] to ``y``."""
    held = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 5, 5]) for name in "xy")
    domains = sorted({node.domain for node in nodes if node.domain})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def numbers() -> Array:
    x = np.random.default_rng(0).normal(0, 3, (1, 4, 5, 5)).astype(np.float32)
    x[0, 0, 0] = (0, -0.0, 0.5, 1.5, -0.5)
    return x


def defined(x: Array, scale: Array, zero: float, bits: int, signed: int, narrow: int, rounding: str) -> Array:
    """What QONNX says of Quant."""
    y = x / scale + np.float32(zero)
    if bits == 1 and signed:
        y = np.where(y >= 0, 1, -1)
    else:
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        low = (narrow - 2 ** (bits - 1)) if signed else 0
        clipped = np.clip(y, low, high)
        y = {"ROUND": np.round(clipped), "CEIL": np.ceil(clipped), "FLOOR": np.floor(clipped)}[rounding]
    result: Array = ((y - np.float32(zero)) * scale).astype(np.float32)
    return result


@pytest.mark.parametrize("kind", ["Quant", "IntQuant"])
@pytest.mark.parametrize(
    ("zero", "bits", "signed", "narrow", "rounding"),
    [
        (0, 1, 1, 0, "ROUND"),
        (0.5, 1, 1, 1, "ROUND"),
        (0, 1, 0, 0, "ROUND"),
        (0, 2, 1, 1, "ROUND"),
        (0, 4, 0, 0, "FLOOR"),
        (3, 4, 0, 1, "CEIL"),
        (0, 8, 1, 0, "ROUND"),
    ],
)
@pytest.mark.parametrize("is_per_channel", [False, True])
def test_a_quantiser_gives_what_is_defined(
    zero: float, bits: int, signed: int, narrow: int, rounding: str, is_per_channel: bool, kind: str, tmp_path: Path
) -> None:
    scale = np.array([0.25, 0.5, 1, 2], np.float32).reshape(1, 4, 1, 1) if is_per_channel else np.float32(0.5)
    inputs = ["x", "scale", "zero", "bits"]
    about: dict[str, Any] = {"signed": signed, "narrow": narrow, "rounding_mode": rounding}
    node = helper.make_node(kind, inputs, ["y"], "quantiser", domain=DOMAIN, **about)
    path = saved(tmp_path / "q.onnx", [node], {"scale": scale, "zero": zero, "bits": bits})
    said: list[str] = []
    model = read_onnx(path, said.append)
    assert any("1 quantisers of QONNX" in line for line in said)
    wanted = defined(numbers(), np.asarray(scale), zero, bits, signed, narrow, rounding)
    np.testing.assert_array_equal(answers(model, numbers()), wanted)


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general"])
def test_a_bipolar_one_is_a_sign_that_takes_0_as_1(domain: str, tmp_path: Path) -> None:
    node = helper.make_node("BipolarQuant", ["x", "scale"], ["y"], domain=domain)
    model = read_onnx(saved(tmp_path / "q.onnx", [node], {"scale": 0.25}, opset=9))
    np.testing.assert_array_equal(answers(model, numbers()), np.where(numbers() >= 0, 0.25, -0.25).astype(np.float32))


@pytest.mark.parametrize(
    ("about", "constants", "said"),
    [
        ({"rounding_mode": "HALF_UP"}, {"bits": 4}, "rounds by 'HALF_UP'"),
        ({}, {"bits": 2.5}, "has 2.5 bits"),
        ({}, {"bits": [2, 4]}, "no constant"),
        ({}, {"bits": 99}, "has 99 bits"),
        ({}, {"bits": 4, "scale": [1.0, 0.0, 1.0, 1.0]}, "a scale that is 0"),
        ({}, {"bits": 4, "scale": np.nan}, "a scale that is 0"),
    ],
)
def test_what_has_no_counterpart_is_named(
    about: dict[str, Any], constants: dict[str, Any], said: str, tmp_path: Path
) -> None:
    node = helper.make_node("Quant", ["x", "scale", "zero", "bits"], ["y"], "odd", domain=DOMAIN, **about)
    path = saved(tmp_path / "q.onnx", [node], {"scale": 1, "zero": 0, **constants})
    with pytest.raises(UnsupportedOperatorError, match=said) as error:
        read_onnx(path)
    assert "'odd'" in str(error.value)


def brevitas() -> onnx.ModelProto:
    """A float convolution and two binary ones, as Brevitas exports them: weights and activations behind quantisers."""
    b = OnnxBuilder(5)
    for name, value in (("one", 1.0), ("zero", 0.0), ("size", 0.1)):
        b.constant(name, np.array(value, np.float32))
    x = b.conv("first", b.input("x", 3, 16, 16), 32)
    one_bit: dict[str, Any] = {"domain": DOMAIN, "signed": 1, "narrow": 1}
    for name, outputs, inputs, kind, about, further in (
        ("middle", 64, 32, "BipolarQuant", {"domain": DOMAIN}, ()),
        ("last", 32, 64, "Quant", one_bit, ("zero", "one")),
    ):
        signs = b.add(kind, f"{name}/signs", x, "one", *further, channels=inputs, **about)
        weight = b.weights(f"{name}.weight", outputs, inputs, 3, 3)
        quantised = b.add(kind, f"{name}/weight", weight, "size", *further, channels=outputs, **about)
        y = b.add("Conv", name, signs, quantised, channels=outputs, pads=[1] * 4)
        held = (b.rng.uniform(0.5, 1.5, outputs), b.rng.normal(0, 1, outputs), b.rng.normal(0, 1, outputs))
        names = [b.constant(f"{name}/{i}", v.astype(np.float32)) for i, v in enumerate((*held, held[0]))]
        x = b.add("BatchNormalization", f"{name}/norm", y, *names)
    logits = b.classifier("logits", x, 4)
    info = helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(b.nodes, "brevitas", b.inputs, [info], b.initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.usefixtures("onnx2tf_environment")
def test_a_network_of_brevitas_form_becomes_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(brevitas(), tmp_path / "net.onnx")
    arguments = ["--precision", "binary", "--no-fallback", "-o", str(tmp_path / "net.graft")]
    assert main(["convert", str(tmp_path / "net.onnx"), *arguments]) == 0
    assert "binary layers: 2, of which 1 pass bits on" in capsys.readouterr().out
    plain = read_onnx(tmp_path / "net.onnx")
    frames = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    engine, differing = Engine(tmp_path / "net.graft"), 0
    for frame in frames:
        (given,) = engine.run(frame).answers["net"].to_json()["outputs"]
        wanted = answers(plain, frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
        differing += not np.allclose(given, wanted.reshape(-1), atol=1e-4)
    assert differing <= 1  # where rounding decides about a sign
