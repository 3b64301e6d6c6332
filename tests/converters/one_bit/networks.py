"""Networks with convolutions that can have 1 bit, in int8."""

from __future__ import annotations

from multigraft.converters.low_bit.fit import Fitting
from tests.converters.graph_builder import GraphBuilder
from tests.converters.low_bit.networks import fitting


def one_layer(
    size: tuple[int, int] = (7, 6),
    channels: int = 40,
    outputs: int = 20,
    kernel: int = 3,
    stride: int = 1,
    padding: str = "SAME",
    activation: str = "RELU",
    dilation: int = 1,
    before: str = "RELU",
    frames: int = 8,
) -> Fitting:
    """``layer`` between a first and a last one."""
    b = GraphBuilder(channels)
    first = b.conv("first", b.input("image", 1, *size, 3), channels, kernel=1, activation=before)
    layer = b.conv("layer", first, outputs, kernel, stride, padding, activation, dilation)
    return fitting(b.graph(b.dense("classes", b.mean("mean", layer), 5)), frames)
