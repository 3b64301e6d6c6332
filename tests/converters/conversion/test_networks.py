"""Forms of networks that converters got wrong, each through the real onnx2tf and compared with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.converters.conversion.rewrites.rewritten import node_model
from tests.converters.conversion.through_converter import through_converter
from tests.converters.onnx_builder import OnnxBuilder


def depthwise_separable(b: OnnxBuilder, name: str, x: str) -> str:
    channels = b.channels[x]
    return b.conv(f"{name}.point", b.conv_relu(f"{name}.depth", x, channels, group=channels), channels, 1)


def dense_skips(b: OnnxBuilder, prefix: str, x: str, classes: int) -> str:
    """Three depthwise-separable blocks, each of which reads the sum of all before it."""
    total = x
    for number in range(3):
        y = depthwise_separable(
            b, f"{prefix}.{number}", total if number == 0 else b.add("Relu", f"{total}.relu", total)
        )
        total = b.add("Add", f"{prefix}.sum{number}", total, y)
    return b.classifier(f"{prefix}.classes", b.add("Relu", f"{prefix}.last", total), classes)


def test_dense_skips_around_depthwise_convolutions_stay_depthwise(
    onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    b = OnnxBuilder(1)
    x = b.conv("stem", b.input("x", 1, 16, 16), 32)
    model = b.model(dense_skips(b, "five", x, 5), dense_skips(b, "two", x, 2))
    counts = through_converter(model, onnx2tf_environment, tmp_path).operator_counts()
    assert counts["DEPTHWISE_CONV_2D"] == 6
    assert counts["CONV_2D"] == 7
    assert "TRANSPOSE" not in counts


def test_inputs_with_the_names_of_old_exporters_stay_apart(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    """Two networks side by side whose inputs onnx2tf would rename: each answer is of its own input."""
    b = OnnxBuilder(6)
    answers = [b.classifier(f"{n}.classes", b.conv(n, b.input(f"{n}/onnx::Conv_0", 2, 8, 8), 4), 3) for n in "ab"]
    graph = through_converter(b.model(*answers), onnx2tf_environment, tmp_path)
    assert set(graph.inputs) == {"a/onnx::Conv_0", "b/onnx::Conv_0"}


def padded_shortcut(b: OnnxBuilder, x: str) -> str:
    """A residual block at half the size, whose shortcut takes every other pixel and pads the channels."""
    channels = b.channels[x]
    for name, values in {"starts": [0, 0], "ends": [99, 99], "axes": [2, 3], "steps": [2, 2]}.items():
        b.constant(f"s.{name}", np.array(values, np.int64))
    b.constant("s.pads", np.array([0, 8, 0, 0, 0, 8, 0, 0], np.int64))
    sliced = b.add("Slice", "s.sliced", x, "s.starts", "s.ends", "s.axes", "s.steps")
    shortcut = b.add("Pad", "s.padded", sliced, "s.pads", channels=channels + 16)
    y = b.conv("s.second", b.conv_relu("s.first", x, channels + 16, stride=2), channels + 16)
    return b.add("Relu", "s.out", b.add("Add", "s.sum", y, shortcut))


def test_a_shortcut_of_slice_and_pad_stays_in_one_layout(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(2)
    x = b.conv_relu("stem", b.input("x", 3, 16, 16), 16)
    model = b.model(b.classifier("classes", padded_shortcut(b, x), 4))
    graph = through_converter(model, onnx2tf_environment, tmp_path)
    counts = graph.operator_counts()
    assert "TRANSPOSE" not in counts and "RELU" not in counts
    assert [op.options["fused_activation_function"] for op in graph.ops if op.name == "ADD"] == ["RELU"]


Layers = Callable[[OnnxBuilder, str], str]


def resize(mode: str, coordinates: str, height: int, width: int) -> Layers:
    def layers(b: OnnxBuilder, x: str) -> str:
        b.constant("sizes", np.array([1, b.channels[x], height, width], np.int64))
        return b.add("Resize", "y", x, "", "", "sizes", mode=mode, coordinate_transformation_mode=coordinates)

    return layers


def norm_after_gemm(b: OnnxBuilder, x: str) -> str:
    y = b.classifier("dense", x, 6)
    return b.add("Div", "y", y, b.add("ReduceL2", "norm", y, axes=[1], keepdims=1))


def clip_without_bounds(b: OnnxBuilder, x: str) -> str:
    b.constant("low", np.array(-0.5, np.float32))
    return b.add("Clip", "y", b.add("Clip", "all", x), "low")


def same_lower(kind: str, **attributes: Any) -> Layers:
    def layers(b: OnnxBuilder, x: str) -> str:
        given: dict[str, Any] = {"auto_pad": "SAME_LOWER", "strides": [2, 2], **attributes}
        if kind == "Conv":
            return b.add("Conv", "y", x, b.weights("w", 4, b.channels[x], 3, 2), channels=4, **given)
        if kind == "ConvTranspose":
            return b.add("ConvTranspose", "y", x, b.weights("w", b.channels[x], 4, 3, 3), channels=4, **given)
        return b.add(kind, "y", x, kernel_shape=[3, 2], **given)

    return layers


def activation(kind: str, **attributes: Any) -> Layers:
    return lambda b, x: b.add(kind, "y", b.conv("c", x, 4), **attributes)


def pixel_shuffle(mode: str) -> Layers:
    return lambda b, x: b.conv(
        "last", b.add("DepthToSpace", "y", b.conv("c", x, 8), channels=2, blocksize=2, mode=mode), 3
    )


def transposed(b: OnnxBuilder, x: str) -> str:
    weights = b.weights("w", b.channels[x], 4, 3, 3)
    return b.add("ConvTranspose", "y", x, weights, channels=4, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])


def pool_with_pads(kind: str, **attributes: Any) -> Layers:
    return lambda b, x: b.add(kind, "y", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], **attributes)


def weights(*shape: int) -> Any:
    return np.random.default_rng(6).standard_normal(shape).astype(np.float32)


NODES: dict[str, onnx.ModelProto] = {
    "lstm": node_model("LSTM", [5, 1, 3], [weights(1, 16, 3), weights(1, 16, 4)], ("y", "h", "c"), hidden_size=4),
    "gru, one step": node_model("GRU", [1, 2, 3], [weights(1, 12, 3), weights(1, 12, 4)], ("", "h"), hidden_size=4),
    "attention": node_model("Attention", [1, 2, 4, 8], [weights(1, 2, 5, 8), weights(1, 2, 5, 8)], opset=23),
    "rms norm": node_model("RMSNormalization", [1, 4, 8], [weights(8)], opset=23),
    "gather": node_model("GatherND", [2, 2, 2], [np.array([[0, 1], [1, -2]])]),
    "product": node_model("MatMul", [2, 2, 2], [weights(2, 3)]),
    "volume": node_model("MaxPool", [1, 3, 6, 6, 6], kernel_shape=[2, 2, 2]),
}
"""Their inputs are no images, some of them with dimensions that are all alike."""


@pytest.mark.parametrize("node", NODES)
def test_inputs_of_any_rank_keep_their_shape(node: str, onnx2tf_environment: Environment, tmp_path: Path) -> None:
    graph = through_converter(NODES[node], onnx2tf_environment, tmp_path)
    shape = tuple(d.dim_value for d in NODES[node].graph.input[0].type.tensor_type.shape.dim)
    assert len(shape) == 4 or graph.tensors["x"].shape == shape


def test_outputs_that_repeat_what_others_read_are_written(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(5)
    x = b.conv("features", b.input("x", 3, 8, 10), 4)
    model = b.model(b.add("Identity", "shown", x), b.classifier("classes", b.add("Relu", "r", x), 3))
    through_converter(model, onnx2tf_environment, tmp_path)


FORMS: dict[str, Layers] = {
    "linear resize, corners aligned": resize("linear", "align_corners", 17, 11),
    "linear resize, half pixel": resize("linear", "half_pixel", 16, 20),
    "linear resize, down": resize("linear", "pytorch_half_pixel", 5, 3),
    "cubic resize": resize("cubic", "half_pixel", 16, 20),
    "nearest resize, twice": resize("nearest", "asymmetric", 16, 20),
    "nearest resize, odd": resize("nearest", "half_pixel", 11, 7),
    "norm after a dense layer": norm_after_gemm,
    "clip without bounds": clip_without_bounds,
    "convolution, odd padding first": same_lower("Conv"),
    "transposed convolution, odd padding first": same_lower("ConvTranspose"),
    "maximum, odd padding first": same_lower("MaxPool"),
    "average, odd padding first": same_lower("AveragePool"),
    "transposed convolution with pads": transposed,
    "maximum with pads": pool_with_pads("MaxPool"),
    "maximum with pads, rounded up": pool_with_pads("MaxPool", ceil_mode=1),
    "average with pads": pool_with_pads("AveragePool"),
    "average that counts its pads": pool_with_pads("AveragePool", count_include_pad=1),
    "softsign": activation("Softsign"),
    "elu": activation("Elu", alpha=0.7),
    "softmax over channels": activation("Softmax", axis=1),
    "log-softmax over channels": activation("LogSoftmax", axis=1),
    "hardmax over channels": activation("Hardmax", axis=1),
    "norm over channels": activation("LpNormalization", axis=1, p=2),
    "local response": activation("LRN", size=3),
    "lp pool": activation("LpPool", kernel_shape=[2, 3], p=2, strides=[2, 2], pads=[1, 1, 0, 1]),
    "sum of one": activation("Sum"),
    "pixel shuffle, depth first": pixel_shuffle("DCR"),
    "pixel shuffle, columns first": pixel_shuffle("CRD"),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_computes_what_onnxruntime_does(form: str, onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(3)
    x = b.conv_relu("stem", b.input("x", 3, 8, 10), 6)
    model = b.model(FORMS[form](b, x))
    graph = through_converter(model, onnx2tf_environment, tmp_path)
    assert graph.operator_counts()


def test_an_argmax_output_keeps_its_values(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(4)
    y = b.add("ArgMax", "index", b.conv("scores", b.input("x", 3, 8, 10), 5), axis=1, keepdims=0)
    model = b.model(b.add("Cast", "answer", y, to=onnx.TensorProto.FLOAT))
    through_converter(model, onnx2tf_environment, tmp_path)
