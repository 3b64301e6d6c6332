"""Convolutions for cores with the Armv7E-M DSP instructions: two pixels by four channels at a time.

SMLAD multiplies two pairs of 16-bit values. Two inputs of a pixel make one word (gathered and widened once per pixel).
Weights of two channels, A and B, share one word: each half holds ``256 * B + A``. SMLAD on the word as it is sums
``256 * b + a``; one SXTB16 leaves A alone for a second SMLAD that sums ``a``. At the end ``b = (first - a) >> 8``,
exact as long as ``|b| < 2^23`` and no half overflows, which is checked here for every channel. So four channels by two
pixels by two inputs, 16 multiplications, take two LDM, two SXTB16 and eight SMLAD: 0.75 instructions each.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.requantise import Affine
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.dsp_block import block_function
from multigraft.firmware_gen.kernels.kernel import LoweredLayer
from multigraft.tensors.arrays import Array

_CHANNELS = 4
_LARGEST_SUM = 1 << 23
_LEAST_EXACT_SHIFT = -23


def dsp_convolution(layer: Layer, over: Window, ring: int | None = None) -> LoweredLayer | None:
    """The layer for these cores; None if it does not fit the kernel."""
    order = tap_order(over)
    weights = np.zeros((-(-over.out_c // _CHANNELS) * _CHANNELS, len(order)), np.int64)
    weights[: over.out_c] = np.where(order >= 0, layer.weights.astype(np.int64)[:, np.maximum(order, 0)], 0)
    sums = np.maximum(weights, 0).sum(1) * 128 + np.minimum(weights, 0).sum(1) * -128
    halves = 256 * weights[1::2] + weights[0::2]
    if np.any(sums >= _LARGEST_SUM) or np.any(halves < -32768) or np.any(halves > 32767):
        return None
    affine = layer.affine
    if not (_exact_fits(layer) if affine is None else _affine_fits(layer, affine)):
        return None
    pairs = len(order) // 2
    constant = _stream(weights, layer, affine)
    padded = len(weights)
    variant = f"affine_{affine[0].shift - 32}" if affine is not None else "exact"
    if over.pixels() == 1 and over.pointwise:
        return _single(layer, over, variant, pairs, constant)
    block = f"mg_block_{variant}"
    blocks = {block: block_function(block, variant, 2)}
    whole = over.pointwise and over.in_c % _CHANNELS == 0 and over.out_c % _CHANNELS == 0
    if whole and (layer.low, layer.high) == (-128, 127):
        body = (
            f"mg_pointwise_dsp(in + first * {over.in_c}, out, constants, scratch, last - first, {over.in_c},"
            f" {over.out_c}, {block});"
        )
        return LoweredLayer(body, constant, 8 * pairs, ("conv_dsp.h",), 2, blocks)
    body = (
        f"mg_conv_dsp({window_literal(over, layer.input_zero_point, ring)}, in, out, constants, scratch, first, last,"
        f" {pairs}, {layer.low}, {layer.high}, {block});"
    )
    spare = 0 if padded == over.out_c else 2 * padded
    return LoweredLayer(body, constant, 8 * pairs + spare, ("conv_dsp.h",), 2, blocks)


def _single(layer: Layer, over: Window, variant: str, pairs: int, constant: bytes) -> LoweredLayer:
    """One pixel of inputs, as a dense layer of one row has: no second one to share weights with, or memory for it."""
    block = f"mg_block_one_{variant}"
    body = (
        f"(void)first, (void)last;\n    mg_dense_dsp({over.in_c}, {over.out_c}, in, out, constants, scratch, {pairs},"
        f" {layer.low}, {layer.high}, {block});"
    )
    spare = 0 if over.out_c % _CHANNELS == 0 else -(-over.out_c // _CHANNELS) * _CHANNELS
    return LoweredLayer(
        body, constant, 4 * pairs + spare, ("conv_dsp.h",), 1, {block: block_function(block, variant, 1)}
    )


def tap_order(over: Window) -> Array:
    """Which tap (height, width, channel) each place of a gathered column holds; -1 where the column is filled up.

    Four inputs in a row widen to (0, 2) and (1, 3). Runs are a kernel row's inputs, or one tap's if the kernel is
    dilated; what a run has beyond a multiple of four comes after all runs, one by one.
    """
    run = over.in_c if over.dilation_w > 1 else over.k_w * over.in_c
    whole = run // 4 * 4
    starts = np.arange(0, over.taps, run)
    words = (starts[:, None] + np.arange(whole)).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    rest = (starts[:, None] + np.arange(whole, run)).reshape(-1)
    order = np.concatenate([words, rest])
    return np.asarray(np.concatenate([order, np.full(len(order) % 2, -1)]), np.int64)


def _exact_fits(layer: Layer) -> bool:
    least, most = layer.ranges()
    small = max(int(-least.min()), int(most.max())) < (1 << 30)
    return small and all(_LEAST_EXACT_SHIFT <= r.shift < 0 and r.multiplier > 0 for r in layer.rescalings)


def _affine_fits(layer: Layer, affine: tuple[Affine, ...]) -> bool:
    """Whether 256 times what is shifted, as it is for every other channel, stays within 64 bits."""
    least, most = layer.ranges()
    return all(
        256 * (abs(one.offset) + one.multiplier * int(max(-low, high) + abs(bias))) < 1 << 63
        for one, low, high, bias in zip(affine, least, most, layer.bias, strict=True)
    )


def _stream(weights: Array, layer: Layer, affine: tuple[Affine, ...] | None) -> bytes:
    """Per four channels: weight words pair by pair, then what rescales each channel."""
    parts = []
    rows = _rescaling_rows(layer, affine, len(weights))
    for first in range(0, len(weights), _CHANNELS):
        w = weights[first : first + _CHANNELS]
        halves = (256 * w[1::2] + w[0::2]).astype("<i2")  # (2, taps): channels (0, 1) and (2, 3)
        words = halves.reshape(2, -1, 2).transpose(1, 0, 2)
        parts.append(np.ascontiguousarray(words).tobytes())
        parts.append(rows[first : first + _CHANNELS].tobytes())
    return b"".join(parts)


def _rescaling_rows(layer: Layer, affine: tuple[Affine, ...] | None, channels: int) -> Array:
    if affine is not None:
        rows = np.zeros((channels, 3), np.uint32)
        for number, (row, one) in enumerate(zip(rows, affine, strict=False)):
            # Sums of odd channels come 256 times as large, and are shifted by eight more.
            offset = (one.offset << 8 * (number % 2)) & 0xFFFFFFFFFFFFFFFF
            row[:] = one.multiplier, offset & 0xFFFFFFFF, offset >> 32
        return rows
    rows = np.zeros((channels, 4), np.int64)
    for row, bias, r in zip(rows, layer.bias, layer.rescalings, strict=False):
        # The bias is doubled as SMMULR's operand is; rounding and zero point are added before the shift.
        row[:] = 2 * bias, r.multiplier, (1 << (-r.shift - 1)) + (r.zero_point << -r.shift), -r.shift
    return rows.astype("<i4")
