"""Every linear layer as a matrix product equals what onnxruntime computes, and survives writing its weights back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper

from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.graft.refit import run_node
from multigraft.refit.linear_layer import LinearLayer
from tests.converters.graft.networks import OPSET


def check(node: NodeProto, constants: dict[str, npt.NDArray[Any]], x: npt.NDArray[np.float32]) -> LinearLayer:
    layer = linear_layer(node, constants)
    assert layer is not None
    expected = run_node(node, {"x": x}, constants, OPSET)["y"]
    got = layer.design(x) @ layer.weight + layer.intercept[:, None]
    np.testing.assert_allclose(got, layer.rows(expected), rtol=1e-4, atol=1e-4)
    names = list(node.input)
    for position, value in layer.initializers(layer.weight, layer.intercept).items():
        if position >= len(names):
            names.append(f"added{position}")
        constants[names[position]] = value
    rewritten = NodeProto()
    rewritten.CopyFrom(node)
    rewritten.input[:] = names
    again = run_node(rewritten, {"x": x}, constants, OPSET)["y"]
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)
    return layer


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    has_bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_convolution(
    groups: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, ...],
    has_bias: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 4, 7, 8)).astype(np.float32)
    constants = {"w": rng.normal(size=(8, 4 // groups, *kernel)).astype(np.float32)}
    if has_bias:
        constants["b"] = rng.normal(size=8).astype(np.float32)
    node = helper.make_node(
        "Conv",
        ["x", *constants],
        ["y"],
        group=groups,
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        pads=pads,
    )
    layer = check(node, constants, x)
    assert layer.weight.shape[0] == groups


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_automatic_padding(auto_pad: str, stride: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 8, 9)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 2], strides=[stride] * 2, auto_pad=auto_pad)
    check(node, {"w": rng.normal(size=(5, 3, 3, 2)).astype(np.float32)}, x)


def test_depthwise_is_one_problem_per_channel() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 6, 5, 5)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=6, kernel_shape=[3, 3], pads=[1] * 4)
    constants = {"w": rng.normal(size=(6, 1, 3, 3)).astype(np.float32), "b": rng.normal(size=6).astype(np.float32)}
    assert check(node, constants, x).weight.shape == (6, 9, 1)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 2]),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pad=st.integers(0, 3),
    extra=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_transposed_convolution(
    groups: int, kernel: int, stride: int, dilation: int, pad: int, extra: int, seed: int
) -> None:
    reach = (kernel - 1) * dilation + 1
    extra = min(extra, stride - 1)
    if (5 - 1) * stride + reach + extra - 2 * pad < 1:
        return
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
    constants = {
        "w": rng.normal(size=(4, 3, kernel, kernel)).astype(np.float32),
        "b": rng.normal(size=3 * groups).astype(np.float32),
    }
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"],
        ["y"],
        group=groups,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        dilations=[dilation] * 2,
        pads=[pad] * 4,
        output_padding=[extra] * 2,
    )
    check(node, constants, x)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_gemm(transposed: int, beta: float) -> None:
    rng = np.random.default_rng(3)
    shape = (4, 6) if transposed else (6, 4)
    constants = {"w": rng.normal(size=shape).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=transposed, alpha=2.0, beta=beta)
    check(node, constants, rng.normal(size=(7, 6)).astype(np.float32))


def test_matmul_of_tokens() -> None:
    rng = np.random.default_rng(4)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    check(node, {"w": rng.normal(size=(6, 4)).astype(np.float32)}, rng.normal(size=(3, 5, 6)).astype(np.float32))


def test_batch_norm_that_stays() -> None:
    rng = np.random.default_rng(5)
    constants = {name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("s", "o", "m", "v")}
    node = helper.make_node("BatchNormalization", ["x", "s", "o", "m", "v"], ["y"], epsilon=1e-3)
    check(node, constants, rng.normal(size=(2, 4, 3, 3)).astype(np.float32))


def test_what_is_not_linear_is_left_alone() -> None:
    assert linear_layer(helper.make_node("Relu", ["x"], ["y"]), {}) is None
    assert linear_layer(helper.make_node("MatMul", ["x", "z"], ["y"]), {}) is None
