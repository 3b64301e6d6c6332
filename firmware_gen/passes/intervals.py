"""What every channel of every tensor can be at all, over all possible int8 inputs: interval arithmetic, per channel.

The bounds are sound and not always tight: channels are taken as independent of each other.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, dense_layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.windowed_layers import convolution_layer, depthwise_layer
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.operators.pooling.mean import over_pixels
from multigraft.firmware_gen.program.program import Node, Program
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Tensor

Interval = tuple[Array, Array]
"""Least and greatest stored value per channel (last axis), int64."""


def keeps_channels(node: Node) -> bool:
    """Whether its channels are functions of the same input channel and keep a constant channel constant."""
    return node.name in ("AVERAGE_POOL_2D", "MAX_POOL_2D") or (node.name == "MEAN" and over_pixels(node))


def intervals(program: Program) -> dict[str, Interval]:
    """An interval per computed tensor."""
    known = {t.name: _anything(t) for t in program.inputs}
    for step in program.steps:
        node = step.node
        for output in node.outputs:
            known[output.name] = _bounds(node, output, known)
    return known


def _anything(tensor: Tensor) -> Interval:
    channels = tensor.shape[-1] if tensor.shape else 1
    return np.full(channels, -128, np.int64), np.full(channels, 127, np.int64)


def _bounds(node: Node, output: Tensor, known: dict[str, Interval]) -> Interval:
    source = node.inputs[0]
    if source is None or source.data is not None or source.name not in known:
        return _anything(output)
    low, high = known[source.name]
    if node.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return _linear(node, low, high)
    if node.name == "FULLY_CONNECTED" and len(low) == node.input(1).shape[1]:
        return _linear(node, low, high)
    if node.name == "MEAN" and over_pixels(node):
        return _mean(node, low, high)
    if keeps_channels(node) and node.op.options.get("fused_activation_function", "NONE") == "NONE":
        return low, high
    if node.name == "RESHAPE" and same_channels(node):
        return low, high
    return _anything(output)


def _mean(node: Node, low: Array, high: Array) -> Interval:
    """The mean over height and width grows with every input."""
    shape = node.input(0).shape
    ends = [OPERATORS["MEAN"].reference(node, [np.broadcast_to(end, shape)]).reshape(-1) for end in (low, high)]
    return ends[0].astype(np.int64), ends[1].astype(np.int64)


def same_channels(node: Node) -> bool:
    """Whether a RESHAPE only drops or adds axes of size 1, so that its last axis stays what it is."""
    source, result = node.input(0).shape, node.outputs[0].shape
    return int(np.prod(source[:-1])) == int(np.prod(result[:-1])) == 1


def layer_of(node: Node) -> tuple[Layer, Window | None]:
    """The linear layer of a node, its weights as output channels x taps, and its window if it slides."""
    if node.name == "FULLY_CONNECTED":
        return dense_layer(node), None
    return convolution_layer(node) if node.name == "CONV_2D" else depthwise_layer(node)


def pads(over: Window | None) -> bool:
    """Whether some output reads padding."""
    if over is None:
        return False
    height, width = over.plane()
    return bool(over.pad_h or over.pad_w or height > over.in_h or width > over.in_w)


def _linear(node: Node, low: Array, high: Array) -> Interval:
    layer, over = layer_of(node)
    if pads(over):
        low, high = np.minimum(low, layer.input_zero_point), np.maximum(high, layer.input_zero_point)
    weights = layer.weights.astype(np.int64)
    if node.name == "DEPTHWISE_CONV_2D":
        repeat = len(weights) // len(low)
        below, above = np.repeat(low, repeat)[:, None], np.repeat(high, repeat)[:, None]
    else:
        count = weights.shape[1] // len(low)
        below, above = np.tile(low, count)[None, :], np.tile(high, count)[None, :]
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    least = layer.bias + (positive * below + negative * above).sum(1)
    most = layer.bias + (positive * above + negative * below).sum(1)
    pairs = [r.apply(np.array([a, b])) for r, a, b in zip(layer.rescalings, least, most, strict=True)]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
