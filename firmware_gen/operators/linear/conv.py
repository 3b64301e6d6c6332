"""CONV_2D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, linear_layer
from multigraft.firmware_gen.arithmetic.geometry import Window, window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.convolution import convolution_kernel
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.int8 import Int8Batch1, Weighted
from multigraft.firmware_gen.program.program import Array, Node


def columns(source: Array, over: Window, padding: int) -> Array:
    """The inputs of every output pixel: int64, pixels x taps, in the order height, width, channel."""
    bottom = max((over.out_h - 1) * over.stride_h + (over.k_h - 1) * over.dilation_h + 1 - over.pad_h - over.in_h, 0)
    right = max((over.out_w - 1) * over.stride_w + (over.k_w - 1) * over.dilation_w + 1 - over.pad_w - over.in_w, 0)
    padded = np.pad(
        source[0].astype(np.int64), ((over.pad_h, bottom), (over.pad_w, right), (0, 0)), constant_values=padding
    )
    y = (np.arange(over.out_h) * over.stride_h)[:, None] + np.arange(over.k_h) * over.dilation_h
    x = (np.arange(over.out_w) * over.stride_w)[:, None] + np.arange(over.k_w) * over.dilation_w
    return np.asarray(padded[y[:, None, :, None], x[None, :, None, :]].reshape(over.pixels(), -1))


def multiply(inputs: Array, layer: Layer) -> Array:
    """int8 outputs (rows x channels) of ``layer`` for rows of raw inputs."""
    # float64 holds the products and sums exactly and multiplies with BLAS.
    sums = (inputs.astype(np.float64) @ layer.weights.astype(np.float64).T).astype(np.int64) + layer.bias
    return np.stack([r.apply(s) for r, s in zip(layer.rescalings, sums.T, strict=True)], axis=1).astype(np.int8)


class Conv(Weighted, Int8Batch1):
    """CONV_2D with constant weights."""

    names = ("CONV_2D",)
    summary = "int8, weights per channel or per tensor, any stride, dilation, padding and fused ReLU"

    def constraint_groups(self, node: Node) -> bool:
        """The convolution has to be over all input channels (no groups)."""
        return node.input(1).shape[3] == node.input(0).shape[3]

    def _parts(self, node: Node) -> tuple[Layer, Window]:
        weights = node.input(1)
        assert weights.data is not None
        over = window(node, (weights.shape[1], weights.shape[2]), node.input(0), node.outputs[0])
        return linear_layer(node, weights.data.reshape(weights.shape[0], -1), float_product=False), over

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        layer, over = self._parts(node)
        assert inputs[0] is not None
        return multiply(columns(inputs[0], over, layer.input_zero_point), layer).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return convolution_kernel(*self._parts(node), core)
