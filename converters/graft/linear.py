"""Every linear layer as one thing: rows of inputs times a matrix plus an intercept.

Convolution (any stride, padding, dilation, groups), depthwise and transposed convolution, Gemm, MatMul and a batch norm
that could not be folded all become ``groups`` independent least-squares problems: a design of shape
(groups, rows, inputs) and targets of shape (groups, rows, outputs), one row per frame and output position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network import Array, attributes
from multigraft.errors import UnsupportedOperatorError

Picked = npt.NDArray[np.int64]


class LinearLayer(ABC):
    """A linear node with constant weights.

    Attributes:
        weight: (groups, inputs, outputs) float64.
        intercept: (groups, outputs) float64.
    """

    def __init__(self, node: onnx.NodeProto, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> None:
        self.node = node
        self.weight = weight.astype(np.float64)
        self.intercept = intercept.astype(np.float64)

    @abstractmethod
    def design(self, x: Array, picked: Picked | None = None) -> Array:
        """Input tensor (frames, ...) to (groups, rows, inputs).

        ``picked`` holds the output positions to use, (frames, positions per frame) indices into the flattened output
        map; None takes all in order.
        """

    @abstractmethod
    def rows(self, y: Array, picked: Picked | None = None) -> Array:
        """Output tensor (frames, ...) to (groups, rows, outputs), in the row order of :meth:`design`."""

    @abstractmethod
    def initializers(self, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> dict[int, Array]:
        """Solved values as the node's constants: input position to array."""


class Convolution(LinearLayer):
    """Conv, depthwise included; (outputs, inputs / groups, *kernel) weights, one or two spatial dimensions."""

    def __init__(self, node: onnx.NodeProto, weight: Array, bias: Array | None) -> None:
        given = attributes(node)
        rank = weight.ndim - 2
        self.kernel = weight.shape[2:]
        self.groups = int(given.get("group", 1))  # type: ignore[call-overload]
        self.strides = _ints(given.get("strides"), (1,) * rank)
        self.dilations = _ints(given.get("dilations"), (1,) * rank)
        self.pads = _ints(given.get("pads"), (0,) * 2 * rank)
        self.auto_pad = given.get("auto_pad", b"NOTSET")
        self.shape = weight.shape
        outputs = weight.shape[0]
        matrix = weight.reshape(self.groups, outputs // self.groups, -1).transpose(0, 2, 1)
        intercept = np.zeros(outputs) if bias is None else bias
        super().__init__(node, matrix, intercept.reshape(self.groups, -1))

    def design(self, x: Array, picked: Picked | None = None) -> Array:
        return _patches(self._padded(x), self.kernel, self.strides, self.dilations, self.groups, picked)

    def _padded(self, x: Array) -> Array:
        rank = len(self.kernel)
        before, after = list(self.pads[:rank]), list(self.pads[rank:])
        if self.auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
            total = [
                max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                for n, s, k, d in zip(x.shape[2:], self.strides, self.kernel, self.dilations, strict=True)
            ]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            before, after = (small, large) if self.auto_pad == b"SAME_UPPER" else (large, small)
        if not any(before) and not any(after):
            return x
        return np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])

    def rows(self, y: Array, picked: Picked | None = None) -> Array:
        return _channel_rows(y, self.groups, picked)

    def initializers(self, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> dict[int, Array]:
        tensor = weight.transpose(0, 2, 1).reshape(self.shape)
        return {1: tensor.astype(np.float32), 2: intercept.reshape(-1).astype(np.float32)}


class TransposedConvolution(LinearLayer):
    """ConvTranspose as a convolution over the input with zeros put between its elements."""

    def __init__(self, node: onnx.NodeProto, weight: Array, bias: Array | None) -> None:
        given = attributes(node)
        rank = weight.ndim - 2
        if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or "output_shape" in given:
            raise UnsupportedOperatorError(
                f"ConvTranspose {node.name or node.output[0]!r} pads automatically", "export it with explicit pads"
            )
        self.kernel = weight.shape[2:]
        self.groups = int(given.get("group", 1))  # type: ignore[call-overload]
        self.strides = _ints(given.get("strides"), (1,) * rank)
        self.dilations = _ints(given.get("dilations"), (1,) * rank)
        self.pads = _ints(given.get("pads"), (0,) * 2 * rank)
        self.output_padding = _ints(given.get("output_padding"), (0,) * rank)
        self.shape = weight.shape
        outputs = weight.shape[1] * self.groups
        flipped = np.flip(weight, axis=tuple(range(2, weight.ndim)))
        per_group = flipped.reshape(self.groups, weight.shape[0] // self.groups, weight.shape[1], -1)
        matrix = per_group.transpose(0, 1, 3, 2).reshape(self.groups, -1, weight.shape[1])
        intercept = np.zeros(outputs) if bias is None else bias
        super().__init__(node, matrix, intercept.reshape(self.groups, -1))

    def design(self, x: Array, picked: Picked | None = None) -> Array:
        rank = len(self.kernel)
        spread = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], self.strides, strict=True)]
        wide = np.zeros((*x.shape[:2], *spread), x.dtype)
        wide[(slice(None), slice(None), *(slice(None, None, s) for s in self.strides))] = x
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True)]
        before = [r - p for r, p in zip(reach, self.pads[:rank], strict=True)]
        after = [r - p + o for r, p, o in zip(reach, self.pads[rank:], self.output_padding, strict=True)]
        wide = np.pad(wide, [(0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True))])
        crop = (slice(max(-b, 0), n - max(-a, 0)) for b, a, n in zip(before, after, wide.shape[2:], strict=True))
        return _patches(
            wide[(slice(None), slice(None), *crop)], self.kernel, (1,) * rank, self.dilations, self.groups, picked
        )

    def rows(self, y: Array, picked: Picked | None = None) -> Array:
        return _channel_rows(y, self.groups, picked)

    def initializers(self, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> dict[int, Array]:
        groups, inputs, outputs = self.groups, self.shape[0] // self.groups, self.shape[1]
        split = weight.reshape(groups, inputs, -1, outputs).transpose(0, 1, 3, 2).reshape(self.shape)
        tensor = np.flip(split, axis=tuple(range(2, len(self.shape))))
        return {1: np.ascontiguousarray(tensor, np.float32), 2: intercept.reshape(-1).astype(np.float32)}


class Dense(LinearLayer):
    """Gemm and MatMul with a constant second operand."""

    def __init__(self, node: onnx.NodeProto, weight: Array, bias: Array | None) -> None:
        given = attributes(node)
        if given.get("transA"):
            raise UnsupportedOperatorError(f"Gemm {node.name or node.output[0]!r} has transA", "export it without")
        self.transposed = bool(given.get("transB"))
        self.alpha = float(given.get("alpha", 1.0))  # type: ignore[arg-type]
        self.beta = float(given.get("beta", 1.0))  # type: ignore[arg-type]
        matrix = self.alpha * (weight.T if self.transposed else weight)
        intercept = np.zeros(matrix.shape[1]) if bias is None else self.beta * np.broadcast_to(bias, matrix.shape[1:])
        super().__init__(node, matrix[None], np.asarray(intercept).reshape(1, -1))

    def design(self, x: Array, picked: Picked | None = None) -> Array:
        return _token_rows(x, picked)

    def rows(self, y: Array, picked: Picked | None = None) -> Array:
        return _token_rows(y, picked)

    def initializers(self, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> dict[int, Array]:
        matrix = weight[0] / self.alpha
        tensor = np.ascontiguousarray(matrix.T if self.transposed else matrix, np.float32)
        found = {1: tensor}
        if self.node.op_type == "Gemm":
            found[2] = (intercept[0] / (self.beta or 1.0)).astype(np.float32)
        return found


class ChannelScale(LinearLayer):
    """A batch norm no convolution could take up: one factor and one offset per channel."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> None:
        scale, bias, mean, variance = (constants[name].astype(np.float64) for name in node.input[1:5])
        self.epsilon = float(attributes(node).get("epsilon", 1e-5))  # type: ignore[arg-type]
        factor = scale / np.sqrt(variance + self.epsilon)
        super().__init__(node, factor.reshape(-1, 1, 1), (bias - mean * factor).reshape(-1, 1))

    def design(self, x: Array, picked: Picked | None = None) -> Array:
        return _channel_rows(x, x.shape[1], picked)

    def rows(self, y: Array, picked: Picked | None = None) -> Array:
        return _channel_rows(y, y.shape[1], picked)

    def initializers(self, weight: npt.NDArray[Any], intercept: npt.NDArray[Any]) -> dict[int, Array]:
        channels = weight.shape[0]
        return {
            1: weight.reshape(-1).astype(np.float32),
            2: intercept.reshape(-1).astype(np.float32),
            3: np.zeros(channels, np.float32),
            4: np.full(channels, 1.0 - self.epsilon, np.float32),
        }


def linear_layer(node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> LinearLayer | None:
    """The linear view of ``node``, or None if it is not linear or its weights are not constant."""
    if len(node.input) < 2 or node.input[1] not in constants:
        return None
    weight = constants[node.input[1]]
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    if node.op_type == "Conv":
        return Convolution(node, weight, bias)
    if node.op_type == "ConvTranspose":
        return TransposedConvolution(node, weight, bias)
    if node.op_type == "Gemm" or (node.op_type == "MatMul" and weight.ndim == 2):
        return Dense(node, weight, bias)
    if node.op_type == "BatchNormalization" and all(name in constants for name in node.input[1:5]):
        return ChannelScale(node, constants)
    return None


def _ints(value: object, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value) if value is not None else default  # type: ignore[arg-type]


def _patches(
    x: Array,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    picked: Picked | None,
) -> Array:
    """(frames, channels, *space) to (groups, frames * positions, channels / groups * kernel elements)."""
    rank = len(kernel)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    space = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=space)  # type: ignore[call-overload]
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    windows = windows[(*steps, *(slice(None, None, d) for d in dilations))]
    frames, channels = x.shape[:2]
    inputs = channels // groups * int(np.prod(kernel))
    if picked is None:
        windows = np.moveaxis(windows, 1, 1 + rank)
    else:
        where = np.unravel_index(picked, windows.shape[2 : 2 + rank])
        # Advanced indices on both sides of the channel axis put their dimensions in front of it.
        windows = windows[(np.arange(frames)[:, None], slice(None), *where)]
    rows = np.ascontiguousarray(windows).reshape(-1, groups, inputs)
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def _channel_rows(y: Array, groups: int, picked: Picked | None) -> Array:
    """(frames, channels, *space) to (groups, frames * positions, channels / groups)."""
    frames, channels = y.shape[:2]
    flat = y.reshape(frames, channels, -1)
    if picked is not None:
        flat = np.take_along_axis(flat, picked[:, None, :], axis=2)
    split = flat.reshape(frames, groups, channels // groups, -1)
    return np.ascontiguousarray(split.transpose(1, 0, 3, 2)).reshape(groups, -1, channels // groups)


def _token_rows(x: Array, picked: Picked | None) -> Array:
    """(frames, ..., features) to (1, frames * positions, features)."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    if picked is not None:
        flat = np.take_along_axis(flat, picked[:, :, None], axis=1)
    return flat.reshape(1, -1, x.shape[-1])
