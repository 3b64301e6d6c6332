"""Networks of unusual form go through ``multigraft build`` with the real converter, in pairs and alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from multigraft import Bundle
from multigraft.cli.main import main
from tests.converters.importing.network_builder import FLOAT, NetworkBuilder

SIZE = 16
HEAD = 'frames = "frames.npy"\n[bundle]\nname = "forms"\n[budget]\nmin_agreement = 0.6\n[graft]\nfit_frames = 96\n'
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "other"
tolerance = 0.5
[task.preprocessing]
size = [16, 16]
scale = {scale}
"""


def conv_relu(g: NetworkBuilder, x: str, name: str, inputs: int, outputs: int, stride: int = 1) -> str:
    w = g.weight(f"{name}.w", outputs, inputs, 3, 3)
    return g.add("Relu", [g.add("Conv", [x, w], f"{name}.c", pads=[1] * 4, strides=[stride] * 2)], name)


def classes(g: NetworkBuilder, x: str, channels: int, output: str = "answer") -> str:
    flat = g.add("Flatten", [g.add("GlobalAveragePool", [x], f"{output}.pool")], f"{output}.flat")
    return g.add("Gemm", [flat, g.weight(f"{output}.w", 4, channels), g.weight(f"{output}.b", 4)], output, transB=1)


def plain(seed: int) -> onnx.ModelProto:
    g = NetworkBuilder(seed)
    y = conv_relu(g, conv_relu(g, "image", "a", 3, 8, 2), "b", 8, 8)
    return g.model(classes(g, y, 8), shape=(1, 3, SIZE, SIZE))


def two_streams(seed: int) -> onnx.ModelProto:
    """As SSR-Net: one stream of ReLU and average pools, one of tanh and maximum pools, multiplied at the end."""
    g = NetworkBuilder(seed)
    ends = []
    for name, activation, pool in (("s", "Relu", "AveragePool"), ("t", "Tanh", "MaxPool")):
        x = "image"
        for stage in range(2):
            w = g.weight(f"{name}{stage}.w", 8, 3 if stage == 0 else 8, 3, 3)
            y = g.add("Conv", [x, w], f"{name}{stage}.c", pads=[1] * 4)
            y = g.add(activation, [y], f"{name}{stage}.a")
            x = g.add(pool, [y], f"{name}{stage}", kernel_shape=[2, 2], strides=[2, 2])
        ends.append(classes(g, x, 8, f"{name}.answer"))
    return g.model(g.add("Mul", ends, "answer"), shape=(1, 3, SIZE, SIZE))


def early_output(seed: int) -> onnx.ModelProto:
    g = NetworkBuilder(seed)
    early = conv_relu(g, "image", "early", 3, 8, 2)
    return g.model(classes(g, conv_relu(g, early, "b", 8, 8), 8), "early", shape=(1, 3, SIZE, SIZE))


def constant_output(seed: int) -> onnx.ModelProto:
    """Anchors beside the answer, as detectors write them; they are left out."""
    g = NetworkBuilder(seed)
    y = conv_relu(g, "image", "a", 3, 8, 2)
    g.add("Identity", [g.constant("boxes", np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 2, 4))], "anchors")
    return g.model(classes(g, y, 8), "anchors", shape=(1, 3, SIZE, SIZE))


def one_layer(seed: int) -> onnx.ModelProto:
    """No cut point: its only linear layer is the last one."""
    g = NetworkBuilder(seed)
    return g.model(classes(g, "image", 3), shape=(1, 3, SIZE, SIZE))


def channels_last(seed: int) -> onnx.ModelProto:
    """Bytes, height x width x channels, normalised inside."""
    g = NetworkBuilder(seed)
    y = g.add("Cast", ["image"], "float", to=FLOAT)
    y = g.add("Sub", [y, g.constant("mean", np.array([120, 110, 100], np.float32))], "shifted")
    y = g.add("Mul", [y, g.constant("scale", np.array([0.02], np.float32))], "normal")
    y = conv_relu(g, g.add("Transpose", [y], "first", perm=[0, 3, 1, 2]), "a", 3, 8, 2)
    return g.model(classes(g, y, 8), shape=(1, SIZE, SIZE, 3), dtype=TensorProto.UINT8)


def half(seed: int) -> onnx.ModelProto:
    model = plain(seed)
    for stored in model.graph.initializer:
        value = onnx.numpy_helper.to_array(stored).astype(np.float16)
        stored.CopyFrom(onnx.numpy_helper.from_array(value, stored.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


class Frames(CalibrationDataReader):  # type: ignore[misc]
    """Eight frames to set ranges by."""

    def __init__(self) -> None:
        self.left = list(np.random.default_rng(6).random((8, 1, 3, SIZE, SIZE), dtype=np.float32))

    def get_next(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] | None:
        return {"image": self.left.pop()} if self.left else None


def quantised(seed: int) -> onnx.ModelProto:
    return plain(seed)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (two_streams, two_streams),
        (early_output, plain),
        (constant_output, early_output),
        (one_layer, two_streams),
        (channels_last, half),
        (quantised, None),
        (two_streams, None),
    ],
)
def test_a_build_goes_through(
    first: Callable[[int], onnx.ModelProto],
    second: Callable[[int], onnx.ModelProto] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (256, 4, 4, 3), dtype=np.uint8)
    np.save("frames.npy", small.repeat(4, axis=1).repeat(4, axis=2))
    tasks = ""
    for name, make, seed in (("first", first, 1), ("second", second, 2)):
        if make is None:
            continue
        onnx.save(make(seed), f"{name}.onnx")
        if make is quantised:
            quantize_static("first.onnx", "quantised.onnx", Frames(), QuantFormat.QDQ)
            Path("quantised.onnx").rename("first.onnx")
        tasks += TASK.format(name=name, scale=1.0 if make is channels_last else 1 / 255)
    Path("multigraft.toml").write_text(f"{HEAD}{tasks}", "utf-8")
    assert main(["check", "first.onnx", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["can_be_built"] and not checked["problems"]
    assert main(["build", "multigraft.toml", "-o", "forms.graft"]) == 0
    bundle = Bundle.open("forms.graft")
    assert [t.name for t in bundle.manifest.tasks] == ["first", *(["second"] if second else [])]
    outputs = {o.name for o in first(1).graph.output} - {"anchors"}
    assert {o.partition("/")[2] for o in bundle.manifest.tasks[0].outputs} == outputs
