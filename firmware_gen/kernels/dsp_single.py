"""Dense layers of one row for cores with the Armv7E-M DSP instructions: four channels of the one pixel at a time.

Weights of two channels share a word as in :mod:`.dsp_convolution`. There is no other pixel to share them with.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.requantise import Affine
from multigraft.firmware_gen.kernels.dsp_block import one_pixel_function
from multigraft.firmware_gen.kernels.kernel import LoweredLayer
from multigraft.tensors.arrays import Array

SINGLE_CHANNELS = 4
"""Channels at a time."""
_LARGEST_SUM = 1 << 30
_LEAST_EXACT_SHIFT = -23


def dsp_single(layer: Layer, over: Window, halves: Array) -> LoweredLayer | None:
    """The layer for these cores; None if it does not fit the kernel.

    Args:
        layer: The layer.
        over: Its window, which is one pixel.
        halves: int64, pairs of output channels (filled up to a multiple of four) x taps in their order in the column.
    """
    affine = layer.affine
    if not (exact_fits(layer, _LARGEST_SUM) if affine is None else _affine_fits(layer, affine)):
        return None
    channels, pairs = 2 * len(halves), halves.shape[1] // 2
    variant = f"affine_{affine[0].shift - 32}" if affine is not None else "exact"
    block = f"mg_block_one_{variant}"
    body = (
        f"(void)first, (void)last;\n    mg_dense_dsp({over.in_c}, {over.out_c}, in, out, constants, scratch, {pairs},"
        f" {layer.low}, {layer.high}, {block});"
    )
    spare = 0 if channels == over.out_c else channels
    functions = {block: one_pixel_function(block, variant)}
    constant = _stream(halves, _rescaling_rows(layer, affine, channels))
    return LoweredLayer(body, constant, 4 * pairs + spare, ("conv_dsp.h",), 1, functions)


def exact_fits(layer: Layer, largest_sum: int) -> bool:
    """Whether accumulators stay below ``largest_sum`` and the reference's shifts are such as the assembly knows."""
    least, most = layer.ranges()
    small = max(int(-least.min()), int(most.max())) < largest_sum
    return small and all(_LEAST_EXACT_SHIFT <= r.shift < 0 and r.multiplier > 0 for r in layer.rescalings)


def _affine_fits(layer: Layer, affine: tuple[Affine, ...]) -> bool:
    """Whether 256 times what is shifted, as it is for every other channel, stays within 64 bits."""
    least, most = layer.ranges()
    return all(
        256 * (abs(one.offset) + one.multiplier * int(max(-low, high) + abs(bias))) < 1 << 63
        for one, low, high, bias in zip(affine, least, most, layer.bias, strict=True)
    )


def _stream(halves: Array, rows: Array) -> bytes:
    """Per four channels: weight words pair by pair, then what rescales each channel."""
    # Of four channels (0, 1) and (2, 3) alternate.
    words = halves.astype("<i2").reshape(len(rows) // SINGLE_CHANNELS, 2, -1, 2).swapaxes(1, 2)
    scales = rows.reshape(len(words), -1)
    return b"".join(w.tobytes() + r.tobytes() for w, r in zip(words, scales, strict=True))


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
