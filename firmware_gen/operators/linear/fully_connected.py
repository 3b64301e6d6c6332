"""FULLY_CONNECTED."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import dense_layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.convolution import convolution_kernel
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import (
    constant_bias_at,
    constant_weights,
    fused_activation,
    int8,
    scale_per_channel,
)
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.linear.reference_sums import multiply
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _format(node: Node) -> bool:
    """The weights have to be stored in the default format."""
    return not node.op.options.get("weights_format")


def _shapes(node: Node) -> bool:
    """The weights have to be units x depth, the input rows of that depth, and the output as many rows of units."""
    if len(node.input(1).shape) != 2:
        return False
    units, depth = node.input(1).shape
    rows, rest = divmod(math.prod(node.input(0).shape), depth)
    return rest == 0 and math.prod(node.outputs[0].shape) == rows * units and node.outputs[0].shape[-1:] == (units,)


class FullyConnected(Operator):
    """FULLY_CONNECTED with constant weights, as a 1x1 convolution over its rows."""

    names = ("FULLY_CONNECTED",)
    summary = "int8, weights of 8 or 4 bits per channel or per tensor, fused ReLU"
    constraints = (
        int8,
        constant_weights,
        scale_per_channel,
        constant_bias_at(2),
        fused_activation,
        _format,
        _shapes,
    )

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        layer = dense_layer(node)
        assert inputs[0] is not None
        rows = inputs[0].reshape(-1, layer.weights.shape[1])
        return multiply(rows, layer).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        layer = dense_layer(node)
        channels, taps = layer.weights.shape
        rows = int(np.prod(node.input(0).shape)) // taps
        return convolution_kernel(layer, Window(1, rows, taps, 1, rows, channels, 1, 1), core)
