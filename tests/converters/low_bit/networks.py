"""A network with every kind of layer that takes few bits, and it in int8."""

from __future__ import annotations

from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.low_bit.layer import layers_of
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import measure
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds


def network(seed: int = 0) -> Graph:
    """``narrow`` goes into a residual sum, ``down`` has windows and a stride, ``classes`` is fully connected."""
    b = GraphBuilder(seed)
    stem = b.conv("stem", b.input("image", 1, 12, 12, 3), 16, activation="RELU")
    wide = b.conv("wide", stem, 48, kernel=1, activation="RELU6")
    narrow = b.conv("narrow", wide, 16, kernel=1)
    total = b.op("ADD", "total", [stem, narrow], (1, 12, 12, 16), fused_activation_function="RELU")
    down = b.conv("down", total, 64, stride=2, activation="RELU")
    deep = b.conv("deep", down, 64, dilation=2, padding="VALID", activation="RELU")
    return b.graph(b.dense("classes", b.mean("mean", deep), 10))


def fitting(floating: Graph, frames: int = 64) -> Fitting:
    given = feeds(floating, frames)
    int8 = quantise(floating, "int8", measure(floating, given))
    return Fitting(floating, int8, layers_of(int8, floating), given)
