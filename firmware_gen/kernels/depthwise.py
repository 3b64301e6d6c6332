"""A depthwise layer as C: which kernel, its constants, its scratch, whether it may work in place."""

from __future__ import annotations

from dataclasses import astuple

from multigraft.firmware_gen.arithmetic.accumulators import Layer, scaling
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.bands import LARGEST_PLANE, band_of, rows_of_band
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.convolution import convolution_kernel
from multigraft.firmware_gen.kernels.dsp_depthwise import dsp_depthwise
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap
from multigraft.firmware_gen.kernels.mve_depthwise import mve_depthwise
from multigraft.firmware_gen.kernels.pixel_kernel import pixel_kernel

_MOST = 1 << 16
"""Numbers of rows, columns and channels have 16 bits in the tables of the kernels for DSP instructions."""


def depthwise_kernel(layer: Layer, over: Window, core: CoreFeatures, ring: int | None = None) -> Kernel:
    """The best kernel for ``layer`` on ``core``; with ``ring``, its input is a ring of that many rows."""
    if over.in_c == 1:
        # All output channels see the one input channel, as those of a convolution do.
        return convolution_kernel(layer, over, core, ring)
    fast = mve_depthwise(layer, over, ring) if core.mve else None
    fits = max(astuple(over)) < _MOST and max(over.pad_h, over.pad_w) < _MOST // 2
    low = fast or (dsp_depthwise(layer, over, ring) if core.dsp and fits else _portable(layer, over, ring))
    # No channel touches another's places, and each is read, whole or in time, before its outputs are written.
    inside = over.in_c == over.out_c and over.pixels() <= over.in_h * over.in_w
    overlaps = {0: Overlap()} if inside and low.in_place else {}
    if not low.scratch_bytes or low.together > 1:
        # Of pixels that are computed together, other channels are still to be read when the first are written.
        overlaps = {0: Overlap(over.distance_by_channels(low.together))}
    return pixel_kernel("depthwise", low, over, overlaps, lambda rows: depthwise_kernel(layer, over, core, rows))


def _portable(layer: Layer, over: Window, ring: int | None) -> LoweredLayer:
    width = over.plane()[1]
    band = band_of(over, LARGEST_PLANE // width, ring)
    scales, exact, number = scaling(layer)
    body = (
        f"mg_depthwise({window_literal(over, layer.input_zero_point, ring)}, in, out, constants, scratch, first, last,"
        f" {band}, {width}, {exact}, {number}, {layer.low}, {layer.high});"
    )
    beyond = over.out_w % 2 * over.stride_w
    scratch_bytes = -(-(rows_of_band(over, band) * width + beyond) // 4) * 4
    in_place = band == over.out_h or over.rows_in_time()
    return LoweredLayer(body, scales + layer.weights.tobytes(), scratch_bytes, ("depthwise.h",), in_place=in_place)
