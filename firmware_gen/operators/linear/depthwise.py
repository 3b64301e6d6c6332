"""DEPTHWISE_CONV_2D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.windowed_layers import depthwise_layer
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.depthwise import depthwise_kernel
from multigraft.firmware_gen.kernels.kernel import Kernel
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
        return depthwise_kernel(*depthwise_layer(node), core)
