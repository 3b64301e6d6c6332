"""DEPTHWISE_CONV_2D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, affine_bytes, exact_bytes
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.windowed_layers import depthwise_layer
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest, window_literal
from multigraft.firmware_gen.kernels.convolution import convolution_kernel
from multigraft.firmware_gen.kernels.dsp_depthwise import dsp_depthwise
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap
from multigraft.firmware_gen.kernels.mve_depthwise import mve_depthwise, rows_in_time
from multigraft.firmware_gen.operators.base.constraints import (
    constant_bias_at,
    constant_weights,
    fused_activation,
    image,
    int8,
    scale_per_channel,
    window_fits,
)
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.linear.reference_sums import columns
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _channels(node: Node) -> bool:
    """The output channels have to be a multiple of the input channels, and as many as the weights'."""
    channels = node.outputs[0].shape[3]
    return channels % node.input(0).shape[3] == 0 and node.input(1).shape[::3] == (1, channels)


class Depthwise(Operator):
    """DEPTHWISE_CONV_2D with constant weights."""

    names = ("DEPTHWISE_CONV_2D",)
    summary = (
        "int8, weights of 8 or 4 bits per channel or per tensor, any stride, dilation, padding, depth multiplier and "
        "fused ReLU"
    )
    constraints = (
        int8,
        image,
        constant_weights,
        scale_per_channel,
        constant_bias_at(2),
        fused_activation,
        window_fits,
        _channels,
    )

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        layer, over = depthwise_layer(node)
        assert inputs[0] is not None
        taps = columns(inputs[0], over, layer.input_zero_point).reshape(over.pixels(), -1, over.in_c)
        spread = np.repeat(taps, over.out_c // over.in_c, axis=2)
        sums = np.einsum("ptc,ct->pc", spread, layer.weights.astype(np.int64)) + layer.bias
        result = np.stack([r.apply(s) for r, s in zip(layer.rescalings, sums.T, strict=True)], axis=1)
        return result.astype(np.int8).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        layer, over = depthwise_layer(node)
        if over.in_c == 1:
            # All output channels see the one input channel, as those of a convolution do.
            return convolution_kernel(layer, over, core)
        ringed = mve_depthwise(layer, over) if core.mve else None
        fast = dsp_depthwise(layer, over) if core.dsp else None
        low = ringed or fast or _portable(layer, over)
        name = f"depthwise_{digest(low.body)}"
        text = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants, void *scratch)\n"
            f"{{\n    {low.body}\n}}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]}, {constants}, {scratch});"

        overlaps = {}
        # No channel touches another's places, and each is read, whole or row by row, before its outputs are written.
        if (
            over.in_c == over.out_c
            and over.pixels() <= over.in_h * over.in_w
            and (low is not ringed or rows_in_time(over))
        ):
            overlaps = {0: Overlap()}
        return Kernel(call, low.includes, {name: text}, low.constant, low.scratch_bytes, overlaps)


def _portable(layer: Layer, over: Window) -> LoweredLayer:
    height, width = over.plane()
    affine = layer.affine()
    scales = exact_bytes(layer) if affine is None else affine_bytes(affine)
    exact, number = (1, layer.rescalings[0].zero_point) if affine is None else (0, affine[0].shift)
    body = (
        f"mg_depthwise({window_literal(over, layer.input_zero_point)}, in, out, constants, scratch, {height}, {width},"
        f" {exact}, {number}, {layer.low}, {layer.high});"
    )
    beyond = over.out_w % 2 * over.stride_w
    scratch_bytes = -(-(height * width + beyond) // 4) * 4
    return LoweredLayer(body, scales + layer.weights.tobytes(), scratch_bytes, ("depthwise.h",))
