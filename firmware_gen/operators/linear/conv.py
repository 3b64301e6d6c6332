"""CONV_2D."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.arithmetic.windowed_layers import convolution_layer
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.convolution import convolution_kernel
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
from multigraft.firmware_gen.operators.linear.reference_sums import columns, multiply
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _channels(node: Node) -> bool:
    """The weights have to be of all input channels (no groups), for all output channels."""
    out_channels, _, _, in_channels = node.input(1).shape
    return in_channels == node.input(0).shape[3] and out_channels == node.outputs[0].shape[3]


class Conv(Operator):
    """CONV_2D with constant weights."""

    names = ("CONV_2D",)
    summary = "int8, weights of 8 or 4 bits per channel or per tensor, any stride, dilation, padding and fused ReLU"
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
        layer, over = convolution_layer(node)
        assert inputs[0] is not None
        return multiply(columns(inputs[0], over, layer.input_zero_point), layer).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return convolution_kernel(*convolution_layer(node), core)
