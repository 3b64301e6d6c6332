"""Convolutions for cores with Helium: two pixels by four channels at a time.

VMLADAVA sums sixteen int8 products into one register. Weights of four channels alternate in groups of sixteen taps, the
last one filled up with zeros; two pixels' inputs meet each group while it is in a register, so that 128 multiplications
take 16 instructions. Sums are rescaled four at a time by the reference's own arithmetic.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.kernel import LoweredLayer

_CHANNELS = 4
_LANES = 16
PIXELS = 2


def mve_convolution(layer: Layer, over: Window, ring: int | None = None) -> LoweredLayer | None:
    """The layer for these cores; None if a scale is above 1, which the kernel does not do."""
    if any(r.shift > 0 for r in layer.rescalings):
        return None
    channels, taps = layer.weights.shape
    blocks, groups = -(-channels // _CHANNELS), -(-taps // _LANES)
    weights = np.zeros((blocks * _CHANNELS, groups * _LANES), np.int8)
    weights[:channels, :taps] = layer.weights
    # Weights per block: groups x channels x lanes.
    streams = weights.reshape(blocks, _CHANNELS, groups, _LANES).swapaxes(1, 2).reshape(blocks, -1)
    scales = np.zeros((3, blocks * _CHANNELS), "<i4")
    scales[:, :channels] = np.array(
        [(int(b), r.multiplier, r.shift) for b, r in zip(layer.bias, layer.rescalings, strict=True)]
    ).T
    rows = scales.reshape(3, blocks, _CHANNELS).swapaxes(0, 1)
    constant = b"".join(w.tobytes() + r.tobytes() for w, r in zip(streams, rows, strict=True))
    body = (
        f"mg_conv_mve({window_literal(over, layer.input_zero_point, ring)}, in, out, constants, scratch, first, last,"
        f" (mg_mve_layer){{{groups}, {channels}, {layer.rescalings[0].zero_point}, {layer.low}, {layer.high}}});"
    )
    return LoweredLayer(body, constant, PIXELS * groups * _LANES, ("dot.h", "conv.h", "mve.h", "conv_mve.h"), PIXELS)
