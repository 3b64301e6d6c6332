"""Convolutions for cores with the Armv7E-M DSP instructions: three pixels by two channels at a time.

SMLAD multiplies two pairs of 16-bit values. Two inputs of a pixel make one word (gathered and widened once per pixel).
Weights of two channels, A and B, share one word: each half holds ``256 * B + A``. SMLAD on the word as it is sums
``256 * b + a``; one SXTB16 leaves A alone for a second SMLAD that sums ``a``. At the end ``b = (first - a) >> 8``,
exact as long as ``|b| < 2^23`` and no half overflows, which is checked here for every channel. So two channels by three
pixels by six inputs, 36 multiplications, take four LDM, three SXTB16 and 18 SMLAD: 0.69 instructions each.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.requantise import Upper
from multigraft.firmware_gen.kernels.c_text import digest, window_literal
from multigraft.firmware_gen.kernels.dsp_block import block_function, turns
from multigraft.firmware_gen.kernels.dsp_single import SINGLE_CHANNELS, dsp_single, exact_fits
from multigraft.firmware_gen.kernels.kernel import LoweredLayer
from multigraft.tensors.arrays import Array

_CHANNELS = 2
_FEW_PRODUCTS = 256
_LARGEST_SUM = 1 << 23
_MOST_PAIRS = 1 << 16
_FACTORS = (1, 256)
"""What sums of even and of odd channels are multiplied by; both begin with the same."""


def dsp_convolution(layer: Layer, over: Window, ring: int | None = None) -> LoweredLayer | None:
    """The layer for these cores; None if it does not fit the kernel."""
    single = over.pixels() == 1 and over.pointwise
    order, channels = tap_order(over), SINGLE_CHANNELS if single else _CHANNELS
    weights = np.zeros((-(-over.out_c // channels) * channels, len(order)), np.int64)
    weights[: over.out_c] = np.where(order >= 0, layer.weights.astype(np.int64)[:, np.maximum(order, 0)], 0)
    sums = np.maximum(weights, 0).sum(1) * 128 + np.minimum(weights, 0).sum(1) * -128
    halves = 256 * weights[1::2] + weights[0::2]
    if np.any(sums >= _LARGEST_SUM) or np.any(halves < -32768) or np.any(halves > 32767):
        return None
    if len(order) // 2 >= _MOST_PAIRS:
        return None
    if single:
        # Of few products, the assembly is larger than the time it saves is worth. Of few outputs it computes four.
        is_worth = layer.weights.size > _FEW_PRODUCTS and 2 * over.out_c > SINGLE_CHANNELS
        return dsp_single(layer, over, halves) if is_worth else None
    if "pairs of channels" not in layer.found:
        layer.found["pairs of channels"] = layer.upper(_FACTORS, layer.upper_shifts())
    upper: tuple[Upper, ...] | None = layer.found["pairs of channels"]
    if upper is None and not _exact_fits(layer):
        return None
    rows = np.zeros((len(weights), 4 if upper is None else 3), np.int64)
    if upper is not None:
        variant = f"upper_{upper[0].shift}"
        rows[: over.out_c] = [(one.start, one.multiplier, one.added) for one in upper]
    else:
        variant = "exact"
        for row, bias, factor, r in zip(rows, layer.bias, cycle(_FACTORS), layer.rescalings, strict=False):
            # Rounding and zero point are added before the shift.
            row[:] = factor * bias, r.multiplier, (1 << (-r.shift - 1)) + (r.zero_point << -r.shift), -r.shift
    constant = _stream(halves, rows, together=upper is not None)
    pairs = len(order) // 2
    block = f"mg_block_{variant}"
    functions = {block: block_function(block, variant)}
    by = f"{{{', '.join(map(str, turns(pairs, len(constant))))}}}"
    whole = (
        over.pointwise and over.in_c % 4 == 0 and over.out_c % _CHANNELS == 0 and max(over.in_c, over.out_c) < 1 << 16
    )
    if whole and (layer.low, layer.high) == (-128, 127):
        shape = f"{{{by}, {over.in_c}, {over.out_c}, {block}}}"
        name = f"pointwise_{digest(shape)}"
        functions[name] = f"static const mg_pointwise {name} = {shape};\n"
        shared = f"mg_pointwise_dsp(&{name}, "
        return LoweredLayer("", constant, 12 * pairs, ("conv_dsp.h",), 3, functions, shared=shared)
    name = f"turns_{digest(by)}"
    functions[name] = f"static const mg_turns {name} = {by};\n"
    body = (
        f"mg_conv_dsp({window_literal(over, layer.input_zero_point, ring)}, in, out, constants, scratch, first, last,"
        f" &{name}, {layer.low}, {layer.high}, {block});"
    )
    spare = 0 if len(weights) == over.out_c else -(-3 * len(weights) // 4) * 4
    return LoweredLayer(body, constant, 12 * pairs + spare, ("conv_dsp.h",), 3, functions)


def _stream(halves: Array, rows: Array, together: bool) -> bytes:
    """Per two channels the first pair's weight word, what their sums begin with, weight words pair by pair, then what
    rescales each channel; ``together``: they begin with the same, which is there once."""
    starts, scales = rows[:, 0].reshape(-1, 2).copy(), rows[:, 1:].reshape(len(halves), -1)
    # The even channel's sum is taken from the odd one's.
    starts[:, 1] += starts[:, 0]
    words = halves.astype("<i2")
    parts = (words[:, :2], starts[:, : 1 if together else 2].astype("<i4"), words[:, 2:], scales.astype("<i4"))
    return b"".join(array.tobytes() for part in zip(*parts, strict=True) for array in part)


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
    """Whether the reference's arithmetic stays within 32 bits, also of sums of odd channels, 256 times as large."""
    return int(abs(layer.bias).max()) < _LARGEST_SUM and exact_fits(layer, _LARGEST_SUM)
