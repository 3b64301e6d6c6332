"""3x3 depthwise convolutions for cores with the DSP instructions.

Channel by channel, the plane is widened to 16 bits with its padding; two neighbours make one word. A kernel row is the
words (w0, w1) and (w1, w2): of two words of inputs they give two outputs of stride 1 in four instructions.
"""

from __future__ import annotations

from multigraft.firmware_gen.arithmetic.accumulators import Layer, affine_bytes
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.kernel import LoweredLayer

_LARGEST_OFFSET = 1020
"""Bytes that LDRD reaches."""


def dsp_depthwise(layer: Layer, over: Window) -> LoweredLayer | None:
    """The layer for these cores; None if it does not fit the kernel."""
    affine = layer.affine()
    plain = over.dilation_h == over.dilation_w == 1 and over.stride_w in (1, 2) and over.in_c == over.out_c
    height, _ = over.plane()
    words = (over.out_w + 1) // 2 + 1 if over.stride_w == 1 else over.out_w + 1
    if affine is None or not plain or (over.k_h, over.k_w) != (3, 3) or 8 * words > _LARGEST_OFFSET:
        return None
    body = (
        f"mg_depthwise_dsp({window_literal(over, layer.input_zero_point)}, in, out, constants, scratch, {height},"
        f" {words}, {affine[0].shift}, {layer.low}, {layer.high});"
    )
    constant = affine_bytes(affine) + layer.weights.tobytes()
    return LoweredLayer(body, constant, height * words * 4, ("depthwise_dsp.h",))
