"""A linear layer over a window as C: which kernel, its constants, its scratch, how far it may work in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, affine_bytes, exact_bytes
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest, window_literal
from multigraft.firmware_gen.kernels.dsp_convolution import dsp_convolution
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap
from multigraft.firmware_gen.kernels.mve_convolution import mve_convolution
from multigraft.tensors.arrays import Array


@dataclass(frozen=True)
class PixelKernel:
    """A convolution that computes any run of output pixels.

    Attributes:
        over: The window it slides over the image.
        function: C function ``(in, out, constants, scratch, first, last)``; ``out`` is the place of pixel ``first``.
        together: Pixels that are read before the first of them is written.
    """

    over: Window
    function: str
    together: int


def convolution_kernel(layer: Layer, over: Window, core: CoreFeatures, ring: int | None = None) -> Kernel:
    """The best kernel for ``layer`` on ``core``; with ``ring``, its input is a ring of that many rows."""
    if over.pointwise:
        # Rows do not matter to it, and one long row leaves no odd pixel per row.
        over = Window(1, over.pixels(), over.in_c, 1, over.pixels(), over.out_c, 1, 1)
    fast = mve_convolution(layer, over, ring) if core.mve else dsp_convolution(layer, over, ring) if core.dsp else None
    low = fast or _portable(layer, over, core, ring)
    name = f"conv_{digest(low.body)}"
    text = (
        f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants, void *scratch,"
        f" int32_t first, int32_t last)\n{{\n    {low.body}\n}}\n"
    )

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{name}({ins[0]}, {outs[0]}, {constants}, {scratch}, 0, {over.pixels()});"

    return Kernel(
        call, low.includes, {**low.functions, name: text}, low.constant, low.scratch_bytes,
        {0: Overlap(over.distance(low.together))} if low.in_place else {}, pieces=PixelKernel(over, name, low.together),
    )  # fmt: skip


def _portable(layer: Layer, over: Window, core: CoreFeatures, ring: int | None) -> LoweredLayer:
    """Plain C. Two pixels at a time share each weight that is read, where there are registers for their sums."""
    shape = window_literal(over, layer.input_zero_point, ring)
    together = 1 if over.pixels() == 1 or core.registers < 13 else 2
    affine = layer.affine()
    scales = exact_bytes(layer) if affine is None else affine_bytes(affine)
    exact, number = (1, layer.rescalings[0].zero_point) if affine is None else (0, affine[0].shift)
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
