"""Two networks of MobileNetV2's shape and size with random weights: time and memory of the whole job, engine overhead.

Latency does not depend on the weights; what is kept of real networks' answers does, and is not judged here.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from multigraft.cli.shared.build_results import write_comparison_models
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import build
from multigraft.converters.job.progress import terminal_report
from multigraft.converters.network.network import model_of
from multigraft.converters.settings.settings import Settings
from tests.benchmarks.demo_bundle import compare
from tests.benchmarks.pair_memory import show_memory

RUNS = 600
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, first stride: table 2 of arXiv 1801.04381."""

TOML = """
frames = "frames.npy"
[bundle]
name = "pair"
[budget]
min_agreement = 0.5
[graft]
fit_frames = 256
share = {{ second = "{point}" }}
[[task]]
name = "first"
model = "first.onnx"
kind = "classification"
preprocessing = {{ size = [224, 224], mean = 127.5, scale = 0.0078125 }}
[[task]]
name = "second"
model = "second.onnx"
kind = "classification"
preprocessing = {{ size = [224, 224], mean = 127.5, scale = 0.0078125 }}
"""


def show(folder: Path) -> None:
    """Build the pair, print time and peak memory of that, then what ``multigraft bench`` says of it."""
    for seed, name in enumerate(("first", "second")):
        onnx.save(mobilenet_v2(seed), folder / f"{name}.onnx")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (320, 14, 14, 3), np.uint8)
    np.save(folder / "frames.npy", coarse.repeat(16, 1).repeat(16, 2))
    (folder / "multigraft.toml").write_text(TOML.format(point="block13"))
    start = time.perf_counter()
    with terminal_report() as report:
        built = build(Settings.load(folder / "multigraft.toml"), load_frames, report, separate=True)
    bundle = built.bundle.write(folder / "pair.graft")
    write_comparison_models(built, bundle)
    peak_mib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(
        f"\nTwo networks of MobileNetV2's size, one grafted onto the other, converted together and apart: "
        f"{time.perf_counter() - start:.0f} s, at most {peak_mib:.0f} MiB resident in one process.\n"
    )
    compare(bundle, RUNS)
    show_memory(bundle, sorted((folder / "pair.separate").glob("*.tflite")))


def mobilenet_v2(seed: int, classes: int = 1000) -> onnx.ModelProto:
    """The graph of MobileNetV2 1.0 at 224 x 224 with He-initialised weights."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = [
        numpy_helper.from_array(np.array(limit, np.float32), name) for name, limit in (("low", 0), ("high", 6))
    ]

    def conv(name: str, x: str, inputs: int, outputs: int, kernel: int, stride: int, groups: int, clips: bool) -> str:
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = rng.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[1:]))
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"))
        constants.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}.bias"))
        linear = f"{name}.linear" if clips else name
        nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{name}.weight", f"{name}.bias"],
                [linear],
                name,
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                pads=[kernel // 2] * 4,
                group=groups,
            )
        )
        if clips:
            nodes.append(helper.make_node("Clip", [linear, "low", "high"], [name], f"{name}.clip"))
        return name

    x, channels, block = conv("stem", "image", 3, 32, 3, 2, 1, True), 32, 0
    for expansion, outputs, repeats, first_stride in STAGES:
        for repeat in range(repeats):
            block += 1
            stride, wide, y = first_stride if repeat == 0 else 1, channels * expansion, x
            if expansion != 1:
                y = conv(f"expand{block}", y, channels, wide, 1, 1, 1, True)
            y = conv(f"depthwise{block}", y, wide, wide, 3, stride, wide, True)
            joins = stride == 1 and channels == outputs
            y = conv(f"project{block}" if joins else f"block{block}", y, wide, outputs, 1, 1, 1, False)
            if joins:
                nodes.append(helper.make_node("Add", [x, y], [f"block{block}"], f"add{block}"))
            x, channels = f"block{block}", outputs
    x = conv("last", x, channels, 1280, 1, 1, 1, True)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"))
    weight = (rng.normal(size=(classes, 1280)) / 36).astype(np.float32)
    constants.append(numpy_helper.from_array(weight, "classifier.weight"))
    constants.append(numpy_helper.from_array(np.zeros(classes, np.float32), "classifier.bias"))
    nodes.append(helper.make_node("Gemm", ["flat", "classifier.weight", "classifier.bias"], ["logits"], "fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "mobilenet_v2",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])],
        constants,
    )
    return model_of(graph, 17)
