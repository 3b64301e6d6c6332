"""The sums of linear layers as the reference computes them, in numpy."""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.tensors.arrays import Array


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
