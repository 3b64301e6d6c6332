"""Multiply-accumulate counts of TFLite operators, batch included, bias and activation not."""

from __future__ import annotations

import math
from collections.abc import Callable

from multigraft.tflite.graph import Graph, Op

_Shape = tuple[int, ...]
_CHANNELS_A_WORD = 32
"""Of binary layers, whose last word counts in full: it is computed in full."""


def _convolution(output: _Shape, weights: _Shape) -> int:
    return math.prod(output) * math.prod(weights[1:])


def _depthwise(output: _Shape, weights: _Shape) -> int:
    return math.prod(output) * weights[1] * weights[2]


def _binary(graph: Graph, op: Op) -> int:
    output, (outputs, height, width, held) = (graph.tensors[n].shape for n in (op.outputs[0], op.inputs[1]))
    return math.prod(output[:-1]) * outputs * height * width * held * _CHANNELS_A_WORD


def _transposed(source: _Shape, weights: _Shape) -> int:
    return math.prod(source) * math.prod(weights[:3])


_COUNTS: dict[str, Callable[[Graph, Op], int]] = {
    "CONV_2D": lambda g, op: _convolution(g.tensors[op.outputs[0]].shape, g.tensors[op.inputs[1]].shape),
    "CONV_3D": lambda g, op: math.prod(g.tensors[op.outputs[0]].shape) * math.prod(g.tensors[op.inputs[1]].shape[:4]),
    "DEPTHWISE_CONV_2D": lambda g, op: _depthwise(g.tensors[op.outputs[0]].shape, g.tensors[op.inputs[1]].shape),
    "TRANSPOSE_CONV": lambda g, op: _transposed(g.tensors[op.inputs[2]].shape, g.tensors[op.inputs[1]].shape),
    "FULLY_CONNECTED": lambda g, op: math.prod(g.tensors[op.outputs[0]].shape) * g.tensors[op.inputs[1]].shape[-1],
    "LceBconv2d": _binary,
    "BATCH_MATMUL": lambda g, op: (
        math.prod(g.tensors[op.outputs[0]].shape) * g.tensors[op.inputs[0]].shape[-2 if op.options.get("adj_x") else -1]
    ),
}
"""Weight layouts: CONV_2D and TRANSPOSE_CONV output channels first, depthwise 1 x height x width x channels,
CONV_3D output channels last, FULLY_CONNECTED outputs x inputs."""


def op_macs(graph: Graph, op: Op) -> int:
    """Multiply-accumulates of one operator; 0 for those that multiply nothing by weights."""
    count = _COUNTS.get(op.label)
    return count(graph, op) if count else 0


def graph_macs(graph: Graph) -> int:
    """Multiply-accumulates of all operators."""
    return sum(op_macs(graph, op) for op in graph.ops)
