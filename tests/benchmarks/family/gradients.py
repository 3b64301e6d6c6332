"""Gradients of small convolutional networks, in numpy: enough to tune relatives of the demo's without PyTorch.

Tensors lie as (channels, frames, height, width) and (channels, frames), so that a convolution is one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[Any]
Back = Callable[[Array], tuple[Array, ...]]
"""From the gradient of an operator's output to those of its inputs, in their order."""


def forward(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, npt.NDArray[Any]], given: Mapping[str, Array]
) -> tuple[dict[str, Array], list[Back]]:
    """Every tensor that ``nodes`` make of ``given``, and each node's way back.

    Raises:
        KeyError: An operator that has no gradient here.
    """
    values, ways = dict(given), []
    for node in nodes:
        read = [values.get(name, constants.get(name)) for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]], back = OPERATORS[node.op_type](attributes, *read)
        ways.append(back)
    return values, ways


def gradients(nodes: Sequence[onnx.NodeProto], ways: Sequence[Back], output: str, at: Array) -> dict[str, Array]:
    """The gradient of every tensor and constant that ``output`` depends on, ``at`` being its own."""
    found = {output: at}
    for node, back in zip(reversed(nodes), reversed(ways), strict=True):
        for name, gradient in zip(node.input, back(found[node.output[0]]), strict=False):
            found[name] = found[name] + gradient if name in found else gradient
    return found


def _conv(attributes: Mapping[str, Any], x: Array, weight: Array, bias: Array) -> tuple[Array, Back]:
    out, _, high, wide = weight.shape
    step, (top, left, bottom, right) = attributes["strides"][0], attributes["pads"]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (1, 1, high, wide))[:, :, ::step, ::step, 0, 0]
    shape = windows.shape[1:4]
    columns = windows.transpose(0, 4, 5, 1, 2, 3).reshape(-1, int(np.prod(shape)))
    matrix = weight.reshape(out, -1)
    y = (matrix @ columns + bias[:, None]).reshape(out, *shape)

    def back(gradient: Array) -> tuple[Array, ...]:
        flat = gradient.reshape(out, -1)
        spread = (matrix.T @ flat).reshape(len(x), high, wide, *shape)
        into = np.zeros_like(padded)
        for i in range(high):
            for j in range(wide):
                into[:, :, i : i + step * shape[1] : step, j : j + step * shape[2] : step] += spread[:, i, j]
        inner = into[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return inner, (flat @ columns.T).reshape(weight.shape), flat.sum(1)

    return y, back


def _relu(_: Mapping[str, Any], x: Array) -> tuple[Array, Back]:
    y = np.maximum(x, 0)
    return y, lambda gradient: (gradient * (y > 0),)


def _add(_: Mapping[str, Any], a: Array, b: Array) -> tuple[Array, Back]:
    return a + b, lambda gradient: (gradient, gradient)


def _mean(_: Mapping[str, Any], x: Array, axes: Any = None) -> tuple[Array, Back]:
    size = x.shape[2] * x.shape[3]
    return x.mean((2, 3)), lambda gradient: (np.broadcast_to(gradient[:, :, None, None] / np.float32(size), x.shape),)


def _dense(_: Mapping[str, Any], x: Array, weight: Array, bias: Array) -> tuple[Array, Back]:
    return weight @ x + bias[:, None], lambda gradient: (weight.T @ gradient, gradient @ x.T, gradient.sum(1))


OPERATORS: dict[str, Callable[..., tuple[Array, Back]]] = {
    "Conv": _conv,
    "Relu": _relu,
    "Add": _add,
    "ReduceMean": _mean,
    "Gemm": _dense,
}
