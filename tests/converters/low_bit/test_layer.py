"""What a layer becomes: the same operator in other clothes, run by the stock interpreter within a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multigraft.converters.conversion.interpreters import Runner, tapped
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.low_bit.layer import Bits, with_few_bits
from multigraft.converters.low_bit.rounding import Rounded
from multigraft.converters.quantising.layer_error import stored
from multigraft.errors import ConversionError
from multigraft.tensors.arrays import Array
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds
from tests.converters.low_bit.networks import fitting, network


def one_layer(size: tuple[int, int], channels: int, outputs: int, kernel: int, stride: int, padding: str) -> Fitting:
    b = GraphBuilder(channels)
    first = b.conv("first", b.input("image", 1, *size, 2), channels, kernel=1)
    return fitting(b.graph(b.conv("layer", first, outputs, kernel, stride, padding, "RELU")), 8)


def reference(fit: Fitting, graph: Graph, source: Array, rounded: Rounded, bias: Array) -> Array:
    """The last layer by whole numbers."""
    layer = fit.layers[-1]
    read, write = fit.int8.tensors[layer.linear.source].quant, graph.tensors[layer.name].quant
    assert read is not None and write is not None
    rows = layer.rows(source.astype(np.int64) - read.zero_points[0], np.arange(layer.positions(fit.int8)), -1)
    steps = np.float64(np.float32(read.scales[0])) * rounded.scales
    sums = rows @ rounded.integers.astype(np.int64).T + np.rint(bias / steps)
    values = np.maximum(sums * steps, 0) / write.scales[0] + write.zero_points[0]
    return np.asarray(values.clip(-128, 127))


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from([2, 4]),
)
@pytest.mark.parametrize("delegates", [True, False])
def test_the_interpreter_computes_it_within_a_step(
    delegates: bool,
    size: tuple[int, int],
    channels: int,
    outputs: int,
    kernel: int,
    stride: int,
    padding: str,
    bits: Bits,
) -> None:
    assume(padding == "SAME" or min(size) >= kernel)
    fit = one_layer(size, channels, outputs, kernel, stride, padding)
    layer, rng = fit.layers[-1], np.random.default_rng(0)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    integers = rng.integers(low, high, (outputs, kernel * kernel * channels), endpoint=True).astype(np.int8)
    scales = rng.uniform(0.5, 1, outputs).astype(np.float32).astype(np.float64) / np.sqrt(integers.shape[1]) / high
    rounded, bias = Rounded(integers, scales, np.zeros(outputs)), rng.standard_normal(outputs) * 0.1
    graph = with_few_bits(fit.int8, layer, rounded, bias, bits)
    content = tapped(graph, [layer.linear.source, *graph.outputs])
    check_tflite(content, "the model")
    assert tflite_file.write(tflite_file.read(content)) == content
    runner = Runner(content, delegates=delegates)
    for feed in feeds(fit.floating, 2, seed=5):
        given = runner(stored(feed, graph))
        wanted = reference(fit, graph, given[layer.linear.source], rounded, bias)
        assert np.abs(given["layer"].reshape(wanted.shape) - wanted).max() <= 1.001


def test_layers_that_take_few_bits_are_found_and_depthwise_ones_are_not() -> None:
    fit = fitting(network(), 4)
    assert [layer.name for layer in fit.layers] == ["stem", "wide", "narrow", "down", "deep", "classes"]
    assert [layer.has_windows for layer in fit.layers] == [True, False, False, True, True, False]
    b = GraphBuilder()
    wide = b.conv("wide", b.input("image", 1, 6, 6, 4), 4, depthwise=True)
    assert not fitting(b.graph(wide), 4).layers


def test_scales_that_kernels_cannot_use_are_refused() -> None:
    fit = fitting(network(), 4)
    layer = next(one for one in fit.layers if one.name == "wide")
    coarse = Rounded(np.zeros((48, 16), np.int8), np.full(48, 1e6), np.zeros(48))
    with pytest.raises(ConversionError, match="too coarse"):
        with_few_bits(fit.int8, layer, coarse, np.zeros(48), 2)
