"""Finds the arithmetic that ends a network: what stands behind its last layers and turns their results into answers.

A detector ends in softmaxes, sigmoids and sums and products with grids and strides, which write coordinates of hundreds
of pixels: in 8 bits one step of them is more than a pixel. They have next to no weights and products, so that in float
they cost little.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import graph_macs, op_macs

MOST_WEIGHTS = 64
"""An operator that multiplies by no more weights is arithmetic: the mean of a distribution is a convolution with 16."""

MOST_MACS_SHARE = 0.01
"""Of the graph's multiply-accumulates, of one such operator at most."""

MOST_LAST_MACS_SHARE = 0.05
"""Of the graph's multiply-accumulates, of all last layers together, where they are cheap."""


def decoding_tail(graph: Graph, ends: Collection[str], outputs: Collection[str]) -> tuple[str, ...]:
    """As :func:`arithmetic_tail`, with the last layers themselves where they are cheap: it needs their fine steps."""
    tail = arithmetic_tail(graph, ends, outputs)
    writers = graph.producers()
    read = dict.fromkeys(n for written in tail for n in writers[written].inputs if n in writers and n not in tail)
    last = [name for name in read if name not in ends and op_macs(graph, writers[name]) > 0]
    if sum(op_macs(graph, writers[name]) for name in last) > MOST_LAST_MACS_SHARE * graph_macs(graph):
        return tail
    return tuple(name for op in graph.ops for name in op.outputs if name in tail or name in last)


def arithmetic_tail(graph: Graph, ends: Collection[str], outputs: Collection[str]) -> tuple[str, ...]:
    """What the operators behind the last layers write, in running order.

    Args:
        graph: Float32.
        ends: Tensors, such as cuts, that stay as they are: what writes them is no part of it.
        outputs: The graph's outputs whose tails are meant.
    """
    most_macs = MOST_MACS_SHARE * graph_macs(graph)
    waiting, seen = list(outputs), set[str]()
    while waiting:
        name = waiting.pop()
        op = None if name in seen or name in ends else graph.producer(name)
        if op is None:
            continue
        weights = sum(math.prod(graph.tensors[n].shape) for n in op.inputs if n and graph.constant(n) is not None)
        if (macs := op_macs(graph, op)) and (weights > MOST_WEIGHTS or macs > most_macs):
            continue
        seen.add(name)
        waiting += [n for n in op.inputs if n]
    return tuple(name for op in graph.ops for name in op.outputs if name in seen)
