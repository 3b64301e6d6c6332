"""A linear layer over a window as C: which kernel, its constants, its scratch, how far it may work in place."""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, scaling
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.dsp_convolution import dsp_convolution
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap
from multigraft.firmware_gen.kernels.mve_convolution import mve_convolution
from multigraft.firmware_gen.kernels.pixel_kernel import pixel_kernel
from multigraft.tensors.arrays import Array


def convolution_kernel(layer: Layer, over: Window, core: CoreFeatures, ring: int | None = None) -> Kernel:
    """The best kernel for ``layer`` on ``core``; with ``ring``, its input is a ring of that many rows."""
    # Rows do not matter to a pointwise layer, and one long row leaves no odd pixel per row.
    flat = Window(1, over.pixels(), over.in_c, 1, over.pixels(), over.out_c, 1, 1) if over.pointwise else over
    fast = mve_convolution(layer, flat, ring) if core.mve else dsp_convolution(layer, flat, ring) if core.dsp else None
    low = fast or _portable(layer, flat, core, ring)
    overlaps = {0: Overlap(flat.distance(low.together))} if low.in_place else {}
    return pixel_kernel("conv", low, over, overlaps, lambda rows: convolution_kernel(layer, over, core, rows))


def _portable(layer: Layer, over: Window, core: CoreFeatures, ring: int | None) -> LoweredLayer:
    """Plain C. Two pixels at a time share each weight that is read, where there are registers for their sums."""
    shape = window_literal(over, layer.input_zero_point, ring)
    together = 1 if over.pixels() == 1 or core.registers < 13 else 2
    scales, exact, number = scaling(layer)
    # One pixel of inputs lies as its column would: there is nothing to gather, and nothing to write over meanwhile.
    direct = over.pixels() == 1 and over.pointwise
    unused, place = ("(void)scratch;\n    ", "NULL") if direct else ("", "scratch")
    body = (
        f"{unused}mg_conv({shape}, in, out, constants, {place}, first, last, {together}, {exact}, {number},"
        f" {layer.low}, {layer.high});"
    )
    constant = scales + _interleaved(layer.weights, 128 if together == 1 else 0)
    scratch_bytes = 0 if direct else -(-together * over.taps // 4) * 4
    return LoweredLayer(body, constant, scratch_bytes, ("dot.h", "conv.h"), together, in_place=not direct)


def _interleaved(weights: Array, added: int) -> bytes:
    """Tap by tap the weights of four channels side by side, something added to them; further channels one by one."""
    fours = len(weights) // 4 * 4
    blocks = weights[:fours].reshape(-1, 4, weights.shape[1]).transpose(0, 2, 1).astype(np.int16) + added
    return blocks.astype(np.uint8).tobytes() + weights[fours:].tobytes()
