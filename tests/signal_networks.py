"""Small networks over windows of three axes (1-D convolutions), and such windows, as an accelerometer gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

AXES, LENGTH = 3, 64
GRAVITY = 9.81


def signal_network(classes: int, seed: int, trunk_seed: int = 0) -> onnx.ModelProto:
    """Three convolutions (the third depthwise) of ``trunk_seed``; a pointwise one, a mean and a Gemm of ``seed``."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: npt.NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def convolution(source: str, name: str, sizes: tuple[int, int, int], stride: int, groups: int, draw: int) -> str:
        inputs, outputs, kernel = sizes
        random = np.random.default_rng((draw, len(nodes)))
        fan_in = inputs // groups * kernel
        weight = random.normal(size=(outputs, inputs // groups, kernel)) * np.sqrt(2 / fan_in)
        bias = random.normal(size=outputs) * 0.1
        read = [
            source,
            constant(f"{name}/w", weight.astype(np.float32)),
            constant(f"{name}/b", bias.astype(np.float32)),
        ]
        nodes.append(
            helper.make_node(
                "Conv",
                read,
                [name],
                name,
                kernel_shape=[kernel],
                strides=[stride],
                pads=[kernel // 2] * 2,
                group=groups,
            )
        )
        nodes.append(helper.make_node("Relu", [name], [f"{name}/relu"], f"{name}/relu"))
        return f"{name}/relu"

    x = convolution("window", "first", (AXES, 16, 5), 2, 1, trunk_seed)
    x = convolution(x, "second", (16, 24, 3), 2, 1, trunk_seed)
    x = convolution(x, "third", (24, 24, 3), 1, 24, trunk_seed)
    x = convolution(x, "fourth", (24, 32, 1), 1, 1, seed)
    random = np.random.default_rng(seed)
    nodes.append(helper.make_node("ReduceMean", [x, constant("over", np.array([2]))], ["mean"], "mean", keepdims=0))
    weight = constant("dense/w", (random.normal(size=(classes, 32)) * 0.7).astype(np.float32))
    bias = constant("dense/b", (random.normal(size=classes) * 0.1).astype(np.float32))
    nodes.append(helper.make_node("Gemm", ["mean", weight, bias], ["logits"], "logits", transB=1))
    graph = helper.make_graph(
        nodes,
        "signal",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, AXES, LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def windows(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Sines of random strength and pitch with noise, m/s²: count x 3 x 64."""
    random = np.random.default_rng(seed)
    time = np.arange(LENGTH)
    strength, pitch, phase = (
        random.uniform(low, high, (count, AXES, 1)) for low, high in ((0.2, 2), (0.05, 1), (0, 2 * np.pi))
    )
    signal = strength * np.sin(pitch * time + phase) + 0.2 * random.normal(size=(count, AXES, LENGTH))
    rows: npt.NDArray[np.float32] = (signal * GRAVITY).astype(np.float32)
    return rows


TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labels = [{labels}]
[task.preprocessing]
shape = [3, 64]
scale = 0.102
"""


def write_signal_project(folder: Path, count: int = 500, trunk_seeds: tuple[int, int] = (0, 0)) -> Path:
    """Two tasks, gesture and activity, and the windows they look at; returns the settings file.

    Args:
        folder: Existing.
        count: Windows.
        trunk_seeds: Of the first three convolutions of each.
    """
    text = 'frames = "windows.npy"\n[bundle]\nname = "wrist"\n'
    for (name, labels), trunk_seed in zip(
        {"gesture": ("none", "tap", "shake", "turn", "lift"), "activity": ("still", "walk", "run")}.items(),
        trunk_seeds,
        strict=True,
    ):
        onnx.save(signal_network(len(labels), len(labels), trunk_seed), folder / f"{name}.onnx")
        text += TASK.format(name=name, labels=", ".join(f'"{label}"' for label in labels))
    np.save(folder / "windows.npy", windows(count))
    settings = folder / "multigraft.toml"
    settings.write_text(f"{text}[budget]\nmin_agreement = 0.9\n[graft]\nfit_frames = 200\n", "utf-8")
    return settings
