"""ONNX nodes as linear layers (:mod:`multigraft.refit.linear_layer`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import attributes
from multigraft.errors import UnsupportedOperatorError
from multigraft.refit.linear_layer import ChannelScale, Convolution, Dense, Geometry, LinearLayer, TransposedConvolution


def linear_layer(node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> LinearLayer | None:
    """The linear view of ``node``, or None if it is not linear or its weights are not constant.

    Raises:
        UnsupportedOperatorError: It is linear in a way that cannot be solved.
    """
    if len(node.input) < 2 or node.input[1] not in constants:
        return None
    weight = constants[node.input[1]]
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    if node.op_type == "Conv":
        return Convolution(_spatial(node, weight, "convolution"), weight, bias)
    if node.op_type == "ConvTranspose":
        return TransposedConvolution(_transposed(node, weight), weight, bias)
    if node.op_type == "Gemm" or (node.op_type == "MatMul" and weight.ndim == 2):
        return Dense(_dense(node, weight), weight, bias)
    if node.op_type == "BatchNormalization" and all(name in constants for name in node.input[1:5]):
        scale, offset, mean, variance = (constants[name].astype(np.float64) for name in node.input[1:5])
        epsilon = float(attributes(node).get("epsilon", 1e-5))  # type: ignore[arg-type]
        factor = scale / np.sqrt(variance + epsilon)
        return ChannelScale(Geometry("scale", factor.shape, epsilon=epsilon), factor, offset - mean * factor)
    return None


def convolution(node: onnx.NodeProto, shape: tuple[int, ...]) -> Convolution:
    """A Conv node's layer with zero weights of that shape."""
    weight = np.zeros(shape, np.float32)
    return Convolution(_spatial(node, weight, "convolution"), weight, None)


def dense(node: onnx.NodeProto, shape: tuple[int, int]) -> Dense:
    """A Gemm node's layer with zero weights of that shape."""
    weight = np.zeros(shape, np.float32)
    return Dense(_dense(node, weight), weight, None)


def _spatial(node: onnx.NodeProto, weight: npt.NDArray[Any], kind: Any, **more: Any) -> Geometry:
    given, rank = attributes(node), weight.ndim - 2
    auto_pad: Any = given.get("auto_pad", b"NOTSET")
    return Geometry(
        kind,
        weight.shape,
        groups=int(given.get("group", 1)),  # type: ignore[call-overload]
        strides=_ints(given.get("strides"), (1,) * rank),
        dilations=_ints(given.get("dilations"), (1,) * rank),
        pads=_ints(given.get("pads"), (0,) * 2 * rank),
        auto_pad=auto_pad.decode(),
        **more,
    )


def _transposed(node: onnx.NodeProto, weight: npt.NDArray[Any]) -> Geometry:
    given = attributes(node)
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or "output_shape" in given:
        raise UnsupportedOperatorError(
            f"ConvTranspose {node.name or node.output[0]!r} pads automatically", "export it with explicit pads"
        )
    padding = _ints(given.get("output_padding"), (0,) * (weight.ndim - 2))
    return _spatial(node, weight, "transposed", output_padding=padding)


def _dense(node: onnx.NodeProto, weight: npt.NDArray[Any]) -> Geometry:
    given = attributes(node)
    if given.get("transA"):
        raise UnsupportedOperatorError(f"Gemm {node.name or node.output[0]!r} has transA", "export it without")
    return Geometry(
        "dense",
        weight.shape,
        transposed=bool(given.get("transB")),
        alpha=float(given.get("alpha", 1.0)),  # type: ignore[arg-type]
        beta=float(given.get("beta", 1.0)),  # type: ignore[arg-type]
        takes_bias=node.op_type == "Gemm",
    )


def _ints(value: object, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value) if value is not None else default  # type: ignore[arg-type]
