"""Every linear layer as one thing: rows of inputs times a matrix plus an intercept.

Convolution (any stride, padding, dilation, groups), depthwise and transposed convolution, dense layers and a batch norm
that could not be folded all become ``groups`` independent least-squares problems: a design of shape
(groups, rows, inputs) and targets of shape (groups, rows, outputs), one row per frame and output position.

With numpy alone, so that a device solves what the workstation does. Tensors are channels first, as in ONNX.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Array, Float32Array

Picked = npt.NDArray[np.int64]

HELD_OUT_EVERY = 5
"""Every fifth frame chooses the ridge strength."""

ROWS_PER_INPUT = 48
MIN_ROWS = 20_000
MIN_GROUP_ROWS = 4_000
"""A layer with very many positions is solved from a random part of them: at least this many rows."""

LayerKind = Literal["convolution", "transposed", "dense", "scale"]


@dataclass(frozen=True)
class Geometry:
    """A linear layer without its weights, as plain data; pairs and quadruples as ONNX defines them.

    Attributes:
        kind: Which class of this module.
        shape: Shape of the weights.
        groups: Groups of a convolution.
        strides: Stride per spatial dimension.
        dilations: Dilation per spatial dimension.
        pads: Padding before each spatial dimension, then after each.
        auto_pad: ONNX's name where ``pads`` are not explicit.
        output_padding: Output padding of a transposed convolution.
        transposed: The weights of a dense layer are (outputs, inputs).
        alpha: Factor of a dense layer's product.
        beta: Factor of its bias.
        epsilon: What a batch norm adds to the variance.
        takes_bias: Whether the layer can hold an intercept.
    """

    kind: LayerKind
    shape: tuple[int, ...]
    groups: int = 1
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    auto_pad: str = "NOTSET"
    output_padding: tuple[int, ...] = (0, 0)
    transposed: bool = False
    alpha: float = 1.0
    beta: float = 1.0
    epsilon: float = 0.0
    takes_bias: bool = True


class LinearLayer(ABC):
    """A linear layer with constant weights.

    Attributes:
        geometry: Everything but the weights.
        weight: (groups, inputs, outputs) float64.
        intercept: (groups, outputs) float64.
    """

    def __init__(self, geometry: Geometry, weight: Array, intercept: Array) -> None:
        self.geometry = geometry
        self.weight = weight.astype(np.float64)
        self.intercept = intercept.astype(np.float64)

    @abstractmethod
    def design(self, x: Float32Array, picked: Picked | None = None) -> Float32Array:
        """Input tensor (frames, ...) to (groups, rows, inputs).

        ``picked`` holds the output positions to use, (frames, positions per frame) indices into the flattened output
        map; None takes all in order.
        """

    @abstractmethod
    def rows(self, y: Float32Array, picked: Picked | None = None) -> Float32Array:
        """Output tensor (frames, ...) to (groups, rows, outputs), in the row order of :meth:`design`."""

    @abstractmethod
    def initializers(self, weight: Array, intercept: Array) -> dict[int, Float32Array]:
        """Solved values as the node's constants: input position to array."""


class Convolution(LinearLayer):
    """Conv, depthwise included; (outputs, inputs / groups, *kernel) weights, one or two spatial dimensions."""

    def __init__(self, geometry: Geometry, weight: Float32Array, bias: Float32Array | None) -> None:
        self.kernel = weight.shape[2:]
        self.groups, self.strides, self.dilations = geometry.groups, geometry.strides, geometry.dilations
        self.pads, self.auto_pad, self.shape = geometry.pads, geometry.auto_pad, weight.shape
        outputs = weight.shape[0]
        matrix = weight.reshape(self.groups, outputs // self.groups, -1).transpose(0, 2, 1)
        intercept = np.zeros(outputs) if bias is None else bias
        super().__init__(geometry, matrix, intercept.reshape(self.groups, -1))

    def design(self, x: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _patches(self._padded(x), self.kernel, self.strides, self.dilations, self.groups, picked)

    def _padded(self, x: Float32Array) -> Float32Array:
        rank = len(self.kernel)
        before, after = list(self.pads[:rank]), list(self.pads[rank:])
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = [
                max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                for n, s, k, d in zip(x.shape[2:], self.strides, self.kernel, self.dilations, strict=True)
            ]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            before, after = (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)
        if not any(before) and not any(after):
            return x
        return np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])

    def rows(self, y: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _channel_rows(y, self.groups, picked)

    def initializers(self, weight: Array, intercept: Array) -> dict[int, Float32Array]:
        tensor = weight.transpose(0, 2, 1).reshape(self.shape)
        return {1: tensor.astype(np.float32), 2: intercept.reshape(-1).astype(np.float32)}


class TransposedConvolution(LinearLayer):
    """ConvTranspose as a convolution over the input with zeros put between its elements."""

    def __init__(self, geometry: Geometry, weight: Float32Array, bias: Float32Array | None) -> None:
        self.kernel = weight.shape[2:]
        self.groups, self.strides, self.dilations = geometry.groups, geometry.strides, geometry.dilations
        self.pads, self.output_padding, self.shape = geometry.pads, geometry.output_padding, weight.shape
        outputs = weight.shape[1] * self.groups
        flipped = np.flip(weight, axis=tuple(range(2, weight.ndim)))
        per_group = flipped.reshape(self.groups, weight.shape[0] // self.groups, weight.shape[1], -1)
        matrix = per_group.transpose(0, 1, 3, 2).reshape(self.groups, -1, weight.shape[1])
        intercept = np.zeros(outputs) if bias is None else bias
        super().__init__(geometry, matrix, intercept.reshape(self.groups, -1))

    def design(self, x: Float32Array, picked: Picked | None = None) -> Float32Array:
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

    def rows(self, y: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _channel_rows(y, self.groups, picked)

    def initializers(self, weight: Array, intercept: Array) -> dict[int, Float32Array]:
        groups, inputs, outputs = self.groups, self.shape[0] // self.groups, self.shape[1]
        split = weight.reshape(groups, inputs, -1, outputs).transpose(0, 1, 3, 2).reshape(self.shape)
        tensor = np.flip(split, axis=tuple(range(2, len(self.shape))))
        return {1: np.ascontiguousarray(tensor, np.float32), 2: intercept.reshape(-1).astype(np.float32)}


class Dense(LinearLayer):
    """Gemm and MatMul with a constant second operand."""

    def __init__(self, geometry: Geometry, weight: Float32Array, bias: Float32Array | None) -> None:
        self.transposed, self.alpha, self.beta = geometry.transposed, geometry.alpha, geometry.beta
        matrix = self.alpha * (weight.T if self.transposed else weight)
        intercept = (
            np.zeros(matrix.shape[1]) if bias is None else self.beta * np.broadcast_to(bias, (1, matrix.shape[1]))
        )
        super().__init__(geometry, matrix[None], np.asarray(intercept).reshape(1, -1))

    def design(self, x: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _token_rows(x, picked)

    def rows(self, y: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _token_rows(y, picked)

    def initializers(self, weight: Array, intercept: Array) -> dict[int, Float32Array]:
        matrix = weight[0] / self.alpha
        tensor = np.ascontiguousarray(matrix.T if self.transposed else matrix, np.float32)
        constants = {1: tensor}
        if self.geometry.takes_bias:
            constants[2] = (intercept[0] / (self.beta or 1.0)).astype(np.float32)
        return constants


class ChannelScale(LinearLayer):
    """A batch norm no convolution could take up: one factor and one offset per channel."""

    def __init__(self, geometry: Geometry, factor: Array, offset: Array) -> None:
        self.epsilon = geometry.epsilon
        super().__init__(geometry, factor.reshape(-1, 1, 1), offset.reshape(-1, 1))

    def design(self, x: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _channel_rows(x, x.shape[1], picked)

    def rows(self, y: Float32Array, picked: Picked | None = None) -> Float32Array:
        return _channel_rows(y, y.shape[1], picked)

    def initializers(self, weight: Array, intercept: Array) -> dict[int, Float32Array]:
        channels = weight.shape[0]
        return {
            1: weight.reshape(-1).astype(np.float32),
            2: intercept.reshape(-1).astype(np.float32),
            3: np.zeros(channels, np.float32),
            4: np.full(channels, 1.0 - self.epsilon, np.float32),
        }


def positions_used(layer: LinearLayer, positions: int, frames: int) -> int:
    """How many of a frame's output positions to use, so that all frames give enough rows."""
    groups, inputs, _ = layer.weight.shape
    wanted = max(MIN_ROWS if groups == 1 else MIN_GROUP_ROWS, ROWS_PER_INPUT * inputs)
    return min(positions, -(-wanted // frames))


def layer_of(geometry: Geometry, weight: Array, bias: Array | None) -> LinearLayer:
    """The layer of these weights; for ``scale`` they are the factor and the offset per channel."""
    if geometry.kind == "convolution":
        return Convolution(geometry, weight, bias)
    if geometry.kind == "transposed":
        return TransposedConvolution(geometry, weight, bias)
    if geometry.kind == "dense":
        return Dense(geometry, weight, bias)
    return ChannelScale(geometry, weight, np.zeros(len(weight)) if bias is None else bias)


def _patches(
    x: Float32Array,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    picked: Picked | None,
) -> Float32Array:
    """(frames, channels, *space) to (groups, frames * positions, channels / groups * kernel elements)."""
    frames, channels = x.shape[:2]
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    ends = [-(-(n - r + 1) // s) for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    if picked is None:
        picked = np.broadcast_to(np.arange(int(np.prod(ends))), (frames, int(np.prod(ends))))
    # Where in the flattened map each window begins, and how far behind that its elements are.
    begins = np.zeros(picked.shape, np.int64)
    offsets = np.zeros(1, np.int64)
    starts = np.unravel_index(picked, ends)
    for n, k, d, s, start in zip(x.shape[2:], kernel, dilations, strides, starts, strict=True):
        begins = begins * n + start * s
        offsets = (offsets[:, None] * n + np.arange(k) * d).reshape(-1)
    where = (begins[:, :, None] + offsets).reshape(frames, -1)
    flat = x.reshape(frames, channels, -1)
    wide = channels // groups
    rows = np.empty((groups, frames, picked.shape[1], wide, len(offsets)), x.dtype)
    # A frame at a time: what is gathered stays in the cache until it lies in the rows' order.
    for frame in range(frames):
        values = flat[frame].take(where[frame], axis=1).reshape(groups, wide, -1, len(offsets))
        rows[:, frame] = values.transpose(0, 2, 1, 3)
    return rows.reshape(groups, -1, wide * len(offsets))


def _channel_rows(y: Float32Array, groups: int, picked: Picked | None) -> Float32Array:
    """(frames, channels, *space) to (groups, frames * positions, channels / groups)."""
    frames, channels = y.shape[:2]
    flat = y.reshape(frames, channels, -1)
    if picked is not None:
        flat = np.take_along_axis(flat, picked[:, None, :], axis=2)
    split = flat.reshape(frames, groups, channels // groups, -1)
    return np.ascontiguousarray(split.transpose(1, 0, 3, 2)).reshape(groups, -1, channels // groups)


def _token_rows(x: Float32Array, picked: Picked | None) -> Float32Array:
    """(frames, ..., features) to (1, frames * positions, features)."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    if picked is not None:
        flat = np.take_along_axis(flat, picked[:, :, None], axis=1)
    return flat.reshape(1, -1, x.shape[-1])
