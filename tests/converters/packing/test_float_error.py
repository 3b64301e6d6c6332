"""The float model against the original: rounding is let through, and what is wrong is named where it begins."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.boundary_tensors import FloatModel
from multigraft.converters.packing.first_difference import first_difference
from multigraft.converters.packing.verify import FLOAT_TOLERANCE, float_error
from multigraft.errors import ConversionError
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, Tensor

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(6, 4)).astype(np.float32)
SECOND = RNG.normal(size=(2, 6)).astype(np.float32)
FRAMES = [{"x": np.abs(RNG.normal(size=(1, 4))).astype(np.float32)} for _ in range(4)]


def original(bias: float) -> onnx.ModelProto:
    """Two layers and a sigmoid; with a bias of -9 its answers stay near 1e-4."""
    values = {"w1": FIRST, "w2": SECOND, "b2": np.full(2, bias, np.float32)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["one"], name="/one/Gemm", transB=1),
        helper.make_node("Relu", ["one"], ["hidden"], name="/one/Relu"),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"], name="/two/Gemm", transB=1),
        helper.make_node("Sigmoid", ["logits"], ["y"], name="/two/Sigmoid"),
    ]
    graph = helper.make_graph(
        nodes,
        "two layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def converted(bias: float, first: Array = FIRST, second: Array = SECOND) -> FloatModel:
    """The same as TFLite, the first layer's ReLU fused into it, with weights that may be wrong."""
    graph = Graph.of(
        "main",
        ["x"],
        ["y"],
        [
            Op("FULLY_CONNECTED", ("x", "w1", ""), ("a",), {"fused_activation_function": "RELU"}),
            Op("FULLY_CONNECTED", ("a", "w2", "b2"), ("b",)),
            Op("LOGISTIC", ("b",), ("y",)),
        ],
        [
            Tensor("x", (1, 4)),
            Tensor("w1", (6, 4), data=first),
            Tensor("a", (1, 6)),
            Tensor("w2", (2, 6), data=second),
            Tensor("b2", (2,), data=np.full(2, bias, np.float32)),
            Tensor("b", (1, 2)),
            Tensor("y", (1, 2)),
        ],
    )
    return FloatModel(graph, {"y": "y"}, {})


def moved(weights: Array, by: float) -> Array:
    return np.asarray(weights * (1 + by), np.float32)


def test_equal_networks_are_equal() -> None:
    errors = float_error(converted(0.0), original(0.0), ["y"], FRAMES)
    assert errors["y"] < 1e-5
    assert first_difference(converted(0.0).graph, {}, original(0.0), FRAMES) is None


@pytest.mark.parametrize(
    ("model", "tensor", "node"),
    [
        (converted(0.0, first=moved(FIRST, 0.3)), "one", "Gemm '/one/Gemm'"),
        (converted(0.0, second=moved(SECOND, 0.3)), "logits", "Gemm '/two/Gemm'"),
    ],
    ids=["behind what is fused", "second layer"],
)
def test_the_first_tensor_that_differs_is_named_with_its_node_and_by_how_much(
    model: FloatModel, tensor: str, node: str
) -> None:
    with pytest.raises(ConversionError, match="of the range of 'y'") as caught:
        float_error(model, original(0.0), ["y"], FRAMES)
    assert f"the first that differs is {tensor!r} of {node}, which differs by 0." in str(caught.value)


def test_a_sigmoid_near_0_is_let_through_if_what_it_is_computed_from_is_equal() -> None:
    """Its logits differ by less than a thousandth, the sigmoid by more than that of its own range."""
    model = converted(-9.0, second=moved(SECOND, 0.0015))
    errors = float_error(model, original(-9.0), ["y"], FRAMES)
    assert errors["y"] > FLOAT_TOLERANCE


def test_an_output_that_hardly_moves_does_not_hide_a_wrong_layer() -> None:
    """The answers differ by less than 1e-4, since all are near 0, but the first layer is wrong."""
    model = converted(-14.0, first=moved(FIRST, 0.3))
    with pytest.raises(ConversionError, match="'one' of Gemm '/one/Gemm'"):
        float_error(model, original(-14.0), ["y"], FRAMES)
