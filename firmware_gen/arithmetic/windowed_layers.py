"""The linear layer and the window of operators that slide over an image."""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, linear_layer
from multigraft.firmware_gen.arithmetic.geometry import Window, window
from multigraft.firmware_gen.program.program import Node


def convolution_layer(node: Node) -> tuple[Layer, Window]:
    """The layer of a CONV_2D: its taps are in the order height, width, channel."""
    weights = node.input(1)
    assert weights.data is not None
    over = window(node, (weights.shape[1], weights.shape[2]), node.input(0), node.outputs[0])
    return linear_layer(node, weights.data.reshape(weights.shape[0], -1), float_product=False), over


def depthwise_layer(node: Node) -> tuple[Layer, Window]:
    """The layer of a DEPTHWISE_CONV_2D: each output channel has the taps of its one input channel, height by width."""
    weights = node.input(1)
    assert weights.data is not None
    over = window(node, (weights.shape[1], weights.shape[2]), node.input(0), node.outputs[0])
    flat = np.ascontiguousarray(weights.data.reshape(-1, weights.shape[3]).T)
    return linear_layer(node, flat, float_product=False), over
