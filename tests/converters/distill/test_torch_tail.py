"""Every operator of the trainable tail gives what onnxruntime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from multigraft.converters.distill.torch_operators import OPERATORS
from multigraft.converters.distill.torch_tail import TorchTail, with_weights
from multigraft.converters.graft.tail import Tail
from multigraft.errors import UnsupportedOperatorError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
IMAGE = (2, 6, 9, 7)
BATCH = 64


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


class Case:
    """One node: operator, constant inputs (None: left out), attributes, shape of its input, number of outputs."""

    def __init__(
        self,
        op: str,
        *constants: np.ndarray[Any, Any] | None,
        shape: tuple[int, ...] = IMAGE,
        opset: int = 20,
        positive: bool = False,
        outputs: int = 1,
        **attributes: Any,
    ) -> None:
        self.op, self.shape, self.positive = op, shape, positive
        values = {f"c{i}": c for i, c in enumerate(constants) if c is not None}
        inputs = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(constants))]
        names = tuple(f"y{i}" for i in range(outputs))
        node = onnx.helper.make_node(op, inputs, names, op.lower(), **attributes)
        self.tail = Tail(("x",), (node,), values, names, opset, BATCH)
        self.id = " ".join([op, *(f"{k}={v}" for k, v in attributes.items())])


VECTOR = (3, 8)
TOKENS = (2, 5, 8)
CASES = [
    Case("Conv", floats(4, 6, 3, 3), floats(4), pads=[1, 1, 1, 1], strides=[2, 2]),
    Case("Conv", floats(4, 6, 3, 2), pads=[0, 1, 2, 0], dilations=[2, 1]),
    Case("Conv", floats(6, 1, 3, 3), floats(6), group=6, auto_pad="SAME_UPPER", strides=[2, 2]),
    Case("Conv", floats(6, 2, 4, 4), floats(6), group=3, auto_pad="SAME_LOWER"),
    Case("Conv", floats(4, 5, 3), floats(4), shape=TOKENS, pads=[1, 1]),
    Case("ConvTranspose", floats(6, 4, 3, 3), floats(4), strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]),
    Case("ConvTranspose", floats(6, 2, 2, 2), floats(4), strides=[2, 2], group=2),
    Case("Gemm", floats(8, 5), floats(5), shape=VECTOR, alpha=0.5, beta=2.0),
    Case("Gemm", floats(5, 8), shape=VECTOR, transB=1),
    Case("Gemm", floats(3, 5), floats(1, 5), shape=VECTOR, transA=1),
    Case("MatMul", floats(8, 5), shape=TOKENS),
    Case("BatchNormalization", floats(6), floats(6), floats(6), np.abs(floats(6)) + 0.1, epsilon=1e-3),
    Case("LayerNormalization", floats(8), floats(8), shape=TOKENS, epsilon=1e-3),
    Case("LayerNormalization", floats(5, 8), shape=TOKENS, axis=1),
    *(Case(op, floats(1, 6, 1, 1)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")),
    Case("Pow", np.array(2, np.float32)),
    *(Case(op) for op in ("Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu")),
    *(Case(op) for op in ("Abs", "Neg", "Exp", "Softplus", "Mish", "Identity", "Reciprocal")),
    *(Case(op, positive=True) for op in ("Log", "Sqrt")),
    Case("LeakyRelu", alpha=0.2),
    Case("HardSigmoid", alpha=1 / 6, beta=0.5),
    Case("Gelu", approximate="tanh"),
    Case("PRelu", floats(6, 1, 1)),
    Case("Clip", np.array(-0.5, np.float32), np.array(0.7, np.float32)),
    Case("Clip", None, np.array(0.7, np.float32)),
    Case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    Case("MaxPool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, dilations=[1, 2]),
    Case("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    Case("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    Case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1]),
    Case("AveragePool", kernel_shape=[3, 3], strides=[1, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    Case("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    Case("AveragePool", kernel_shape=[3], shape=TOKENS, pads=[1, 1]),
    Case("GlobalAveragePool"),
    Case("GlobalMaxPool"),
    Case("ReduceMean", ints(2, 3), keepdims=0),
    Case("ReduceMean", ints(-1)),
    Case("ReduceMean", noop_with_empty_axes=1),
    Case("ReduceMean", axes=[2, 3], keepdims=0, opset=17),
    Case("ReduceMax", ints(1)),
    Case("ReduceSum", ints(1), keepdims=0),
    Case("Flatten"),
    Case("Flatten", axis=-1),
    Case("Reshape", ints(0, 3, -1)),
    Case("Squeeze", ints(2, 3), shape=(2, 6, 1, 1)),
    Case("Squeeze", shape=(2, 6, 1, 1)),
    Case("Unsqueeze", ints(1, -1), shape=VECTOR),
    Case("Transpose", perm=[0, 2, 3, 1]),
    Case("Transpose", shape=VECTOR),
    Case("Concat", floats(2, 3, 9, 7), axis=1),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, 0, 3)),
    Case("Pad", ints(1, 2, 0, 3), np.array(0.5, np.float32), ints(2, -1)),
    Case("Pad", ints(0, 1, 1, 2, 0, 0, 3, 3), mode="reflect"),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, -1, 3), mode="edge"),
    Case("Slice", ints(1, -1), ints(100, -100), ints(1, 3), ints(2, -1)),
    Case("Slice", ints(0, 2), ints(1, 4)),
    Case("Split", ints(2, 4), axis=1, outputs=2),
    Case("Split", axis=2, num_outputs=2, outputs=2),
    Case("Gather", ints(0, -1, 3), axis=1),
    Case("Gather", np.array(2, np.int64), axis=1),
    Case("Softmax"),
    Case("Softmax", axis=1),
    Case("LogSoftmax", axis=1),
    Case("Resize", None, np.array([1, 1, 2, 2], np.float32)),
    Case("Resize", None, np.array([1, 1, 2, 1.5], np.float32), mode="linear"),
    Case(
        "Resize",
        None,
        np.array([1, 1, 0.6, 1.5], np.float32),
        mode="linear",
        coordinate_transformation_mode="asymmetric",
    ),
    Case("Resize", None, None, ints(2, 6, 13, 5), mode="linear", coordinate_transformation_mode="align_corners"),
    Case("Resize", None, None, ints(2, 6, 13, 5), mode="cubic", cubic_coeff_a=-0.5),
    Case("Resize", None, None, ints(14, 20), mode="nearest", nearest_mode="ceil", axes=[2, 3]),
    Case("Resize", None, None, ints(4, 3), mode="linear", antialias=1, axes=[2, 3]),
]


@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_operator_equals_onnxruntime(case: Case) -> None:
    x = floats(*case.shape)
    x = np.abs(x) + np.float32(0.1) if case.positive else x
    expected = case.tail.run(x)
    with torch.no_grad():
        given = TorchTail(case.tail)(torch.from_numpy(x))
    assert len(given) == len(expected)
    for mine, theirs in zip(given, expected, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-4, atol=1e-4)


def test_every_operator_is_tested() -> None:
    assert set(OPERATORS) == {case.op for case in CASES}


@pytest.mark.parametrize(
    "case",
    [
        Case("Hardmax", shape=VECTOR),
        Case("ConvTranspose", floats(6, 4, 3, 3), auto_pad="SAME_UPPER"),
        Case("MaxPool", kernel_shape=[2, 2], outputs=2),
        Case("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]),
        Case("Resize", floats(8), None, ints(2, 6, 13, 5), coordinate_transformation_mode="tf_crop_and_resize"),
        Case("BatchNormalization", floats(6), floats(6), floats(6), np.abs(floats(6)), training_mode=1),
    ],
    ids=lambda c: c.id,
)
def test_what_cannot_be_trained_is_named(case: Case) -> None:
    with pytest.raises(UnsupportedOperatorError, match=case.op.lower()):
        TorchTail(case.tail)(torch.from_numpy(floats(*case.shape)))


def test_a_computed_shape_is_refused() -> None:
    nodes = (onnx.helper.make_node("Relu", ["x"], ["s"]), onnx.helper.make_node("Reshape", ["x", "s"], ["y"], "fold"))
    with pytest.raises(UnsupportedOperatorError, match="fold"):
        TorchTail(Tail(("x",), nodes, {}, ("y",), 20, BATCH))(torch.from_numpy(floats(*VECTOR)))


def test_weights_are_trained_and_other_constants_are_not() -> None:
    nodes = (
        onnx.helper.make_node("MatMul", ["x", "weight"], ["product"]),
        onnx.helper.make_node("Add", ["product", "bias"], ["sum"]),
        onnx.helper.make_node("Mul", ["sum", "scale"], ["scaled"]),
        onnx.helper.make_node("Add", ["scaled", "anchors"], ["y"]),
    )
    constants = {"weight": floats(8, 5), "bias": floats(5), "scale": floats(5), "anchors": floats(5)}
    tail = Tail(("x",), nodes, constants, ("y",), 20, BATCH)
    module = TorchTail(tail)
    assert set(module.parameters) == {"weight", "bias"}
    x = floats(*VECTOR)
    (y,) = module(torch.from_numpy(x))
    y.square().mean().backward()
    with torch.no_grad():
        for parameter in module.parameters.values():
            parameter -= 0.1 * parameter.grad
    changed = with_weights(tail, module.values())
    np.testing.assert_allclose(changed.run(x)[0], module(torch.from_numpy(x))[0].detach().numpy(), atol=1e-5)
    assert tail.constants is not changed.constants
    assert not np.array_equal(tail.constants["weight"], changed.constants["weight"])


def test_a_tail_that_takes_one_frame_at_a_time_runs_frame_by_frame() -> None:
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    tail = Tail(("x",), (node,), {"shape": ints(1, 2, 4)}, ("y",), 20, batch=1)
    x = floats(*VECTOR)
    np.testing.assert_allclose(TorchTail(tail)(torch.from_numpy(x))[0].numpy(), tail.run(x)[0])
