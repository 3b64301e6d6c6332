"""A linear layer over a window as C: which kernel, its constants, its scratch, how far it may work in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from multigraft.firmware_gen.cores import CoreFeatures
from multigraft.firmware_gen.dsp_convolution import dsp_convolution
from multigraft.firmware_gen.geometry import Window
from multigraft.firmware_gen.kernel import Kernel, Lowered, Overlap
from multigraft.firmware_gen.linear import Layer, affine_bytes, exact_bytes
from multigraft.firmware_gen.mve_convolution import mve_convolution
from multigraft.firmware_gen.text import digest, window_literal


@dataclass(frozen=True)
class PixelKernel:
    """A convolution that computes any run of output pixels.

    Attributes:
        over: Its window.
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
    low = fast or _portable(layer, over, ring)
    name = f"conv_{digest(low.body)}"
    text = (
        f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants, void *scratch,"
        f" int32_t first, int32_t last)\n{{\n    {low.body}\n}}\n"
    )

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{name}({ins[0]}, {outs[0]}, {constants}, {scratch}, 0, {over.pixels()});"

    return Kernel(
        call, low.includes, {**low.functions, name: text}, low.constant, low.scratch_bytes,
        {0: Overlap(over.distance(low.together))}, pieces=PixelKernel(over, name, low.together),
    )  # fmt: skip


def _portable(layer: Layer, over: Window, ring: int | None) -> Lowered:
    shape = window_literal(over, layer.input_zero_point, ring)
    scratch_bytes = -(-over.taps // 4) * 4
    affine = layer.affine()
    if affine is not None:
        body = (
            f"mg_conv({shape}, in, out, constants, scratch, first, last, {affine[0].shift}, {layer.low}, {layer.high});"
        )
        return Lowered(body, affine_bytes(affine) + layer.weights.tobytes(), scratch_bytes, ("conv.h",))
    body = (
        f"mg_conv_exact({shape}, in, out, constants, scratch, first, last,"
        f" {layer.rescalings[0].zero_point}, {layer.low}, {layer.high});"
    )
    return Lowered(body, exact_bytes(layer) + layer.weights.tobytes(), scratch_bytes, ("conv.h",))
