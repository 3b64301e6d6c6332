"""A network of inverted residuals, as MobileNetV2's, whose channels have very different spans."""

from __future__ import annotations

import numpy as np

from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, with_constant

BLOCKS = ((8, 1), (12, 2), (12, 1), (16, 2), (16, 1))
"""Channels and stride of each block."""


def mobile_network(imbalance: float = 0.0, seed: int = 0, classes: int = 10, activation: str = "RELU") -> Graph:
    """Stem, five inverted residuals (expansion 4), pooling and a classifier, on 1 x 24 x 24 x 3.

    Args:
        imbalance: Powers of ten by which channels inside a block differ: each is divided by a random factor and the
            weights that read it are multiplied by it, as training with batch norms leaves networks. The function stays.
        seed: Of weights and factors.
        classes: Outputs of the classifier.
        activation: Of what is inside a block.
    """
    b = GraphBuilder(seed)
    x = b.conv("stem", b.input("x", 1, 24, 24, 3), 8, stride=2, activation="RELU")
    inner = []
    for number, (channels, stride) in enumerate(BLOCKS):
        wide = b.conv(f"{number}/expand", x, 4 * b.tensors[x].shape[-1], kernel=1, activation=activation)
        deep = b.conv(f"{number}/depth", wide, 0, stride=stride, activation=activation, depthwise=True)
        flat = b.conv(f"{number}/project", deep, channels, kernel=1)
        inner += [(wide, deep), (deep, flat)]
        same = b.tensors[flat].shape == b.tensors[x].shape
        if same:
            flat = b.op("ADD", f"{number}/sum", [x, flat], b.tensors[x].shape, fused_activation_function="NONE")
        x = flat
    graph = b.graph(b.dense("y", b.mean("pooled", x), classes))
    rng = np.random.default_rng(seed + 1)
    for writer, reader in inner:
        factors = 10.0 ** rng.uniform(-imbalance, 0, graph.tensors[writer].shape[-1])
        graph = _scaled(graph, writer, reader, factors)
    return graph


def _scaled(graph: Graph, writer: str, reader: str, factors: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Graph:
    for name, by in ((f"{writer}/weights", factors), (f"{writer}/bias", factors), (f"{reader}/weights", 1 / factors)):
        value = graph.constant(name)
        assert value is not None
        is_first = name == f"{writer}/weights" and not writer.endswith("/depth")
        shape = (-1, *[1] * (value.ndim - 1)) if is_first else (-1,)
        graph = with_constant(graph, name, value * by.reshape(shape))
    return graph
