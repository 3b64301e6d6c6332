"""Depthwise convolutions for cores with Helium: sixteen channels at a time, over a ring of rows with their padding.

Products of int8 are 16 bits wide. How many taps in a row can be summed in 16 bits whatever the inputs are is known
here, as the weights are; only then are they widened.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.kernel import LoweredLayer
from multigraft.tensors.arrays import Array

_LANES = 16
_LANE_ORDER = np.array([0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15])
_MOST_TAPS = 25
"""Taps are unrolled."""
_MOST_ROWS = 16
_MOST_DILATION = 7
"""Pixels of 16 bytes that an address reaches by."""


def mve_depthwise(layer: Layer, over: Window, ring: int | None = None) -> LoweredLayer | None:
    """The layer for these cores; None if it does not fit the kernel."""
    channels, taps = layer.weights.shape
    fits = over.in_c == over.out_c and taps <= _MOST_TAPS and over.k_h <= _MOST_ROWS
    if not fits or over.dilation_w > _MOST_DILATION or any(r.shift > 0 for r in layer.rescalings):
        return None
    blocks = -(-channels // _LANES)
    weights = np.zeros((blocks * _LANES, taps), np.int8)
    weights[:channels] = layer.weights
    scales = np.zeros((3, blocks * _LANES), "<i4")
    scales[:, :channels] = np.array(
        [(int(b), r.multiplier, r.shift) for b, r in zip(layer.bias, layer.rescalings, strict=True)]
    ).T
    rows = scales.reshape(3, blocks, _LANES)[:, :, _LANE_ORDER]
    constant = b"".join(
        rows[0, block].tobytes() + w.T.tobytes() + rows[1:, block].tobytes()
        for block, w in enumerate(weights.reshape(blocks, _LANES, taps))
    )
    width = over.plane()[1]
    body = (
        f"mg_depthwise_mve({window_literal(over, layer.input_zero_point, ring)}, in, out, constants, scratch, first,"
        f" last, {width}, {taps_together(weights)}, {layer.rescalings[0].zero_point}, {layer.low}, {layer.high});"
    )
    includes = ("mve.h", "depthwise_mve.h")
    return LoweredLayer(body, constant, _LANES * over.span * width, includes, in_place=over.rows_in_time())


def taps_together(weights: Array) -> int:
    """The most taps in a row, counted from the first, whose products' sum fits 16 bits for all int8 inputs."""
    w = weights.astype(np.int64)
    taps = w.shape[1]
    most = 1
    for together in range(2, taps + 1):
        starts = np.arange(0, taps, together)
        positive = np.add.reduceat(np.maximum(w, 0), starts, axis=1)
        negative = np.add.reduceat(np.minimum(w, 0), starts, axis=1)
        if (positive * 127 - negative * 128).max() <= 32767 and (positive * 128 - negative * 127).max() <= 32768:
            most = together
    return most
