"""Degenerate weights, biases and ranges: what int8 computes stays within a stated distance of float, everywhere."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from multigraft.converters.conversion.interpreters import Arrays, Runner, available, tapped
from multigraft.converters.quantising.layer_error import layer_error, real, stored
from multigraft.converters.quantising.linear_operators import linear_operators
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import Range, measure
from multigraft.errors import ConversionError
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.program.program import load
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds, run, with_constant

Runs = Callable[[Graph, Arrays], Arrays]

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
CHANNELS = 4
LARGEST = {"int8": 127, "int4": 7}


def plain(graph: Graph, feed: Arrays, backend: str) -> Arrays:
    return Runner(tapped(graph, graph.outputs), backend, delegates=False)(feed)


def firmware(graph: Graph, feed: Arrays) -> Arrays:
    return evaluate(load(tapped(graph, graph.outputs)), feed)


def runs(precision: Precision = "int8") -> dict[str, Runs]:
    """Everything that runs int8 here: both interpreters, with and without their delegate, and firmware's reference."""
    runners: dict[str, Runs] = {}
    for backend in available():
        runners[backend] = functools.partial(run, backend=backend)
        runners[f"{backend}, plain"] = functools.partial(plain, backend=backend)
    return runners | ({"firmware": firmware} if precision == "int8" else {})


def layer(kind: str, activation: str = "NONE") -> Graph:
    b = GraphBuilder()
    if kind == "FULLY_CONNECTED":
        return b.graph(b.dense("y", b.input("x", 1, 24), CHANNELS))
    x = b.input("x", 1, 6, 6, CHANNELS)
    if kind == "TRANSPOSE_CONV":
        shape = b.constant("y/shape", (1, 12, 12, CHANNELS), "int32")
        weights = b.constant("y/weights", b.rng.standard_normal((CHANNELS, 2, 2, CHANNELS)) / 2)
        bias = b.constant("y/bias", np.zeros(CHANNELS))
        options = {"stride_h": 2, "stride_w": 2}
        name = b.op(kind, "y", [shape, weights, x, bias], (1, 12, 12, CHANNELS), 3, padding="SAME", **options)
        return b.graph(name)
    return b.graph(b.conv("y", x, CHANNELS, activation=activation, depthwise=kind == "DEPTHWISE_CONV_2D"))


def rescaled(graph: Graph, weights: npt.ArrayLike, bias: npt.ArrayLike) -> Graph:
    """``graph`` with the weights of each channel multiplied, and other biases."""
    axis = 3 if graph.ops[0].name == "DEPTHWISE_CONV_2D" else 0
    value = graph.constant("y/weights")
    assert value is not None
    shape = [1] * value.ndim
    shape[axis] = -1
    changed = value * np.asarray(weights, np.float32).reshape(shape)
    return with_constant(with_constant(graph, "y/weights", changed), "y/bias", np.asarray(bias, np.float32))


def allowed(graph: Graph, quantised: Graph, feed: Arrays, largest: int) -> npt.NDArray[np.float64]:
    """What rounding of input, weights and output can come to, by channel: a channel's own weights set its part."""
    linear = linear_operators(graph)[0]
    rows, magnitude = np.abs(linear.rows(graph)), float(np.abs(feed["x"]).max())
    scales = [quantised.tensors[n].quant for n in ("x", "y")]
    assert scales[0] is not None and scales[1] is not None
    from_input = rows.sum(1) * scales[0].scales[0] / 2
    from_weights = rows.max(1) / largest / 2 * magnitude * rows.shape[1]
    return np.asarray((from_input + from_weights) * 1.01 + 1.1 * scales[1].scales[0], np.float64)


def check(graph: Graph, precision: Precision = "int8", ranges: dict[str, Range] | None = None) -> None:
    frames = feeds(graph, 3)
    quantised = quantise(graph, precision, measure(graph, frames, ranges))
    for where, runner in runs(precision).items():
        for feed in frames:
            truth = run(graph, feed)["y"]
            value = real(runner(quantised, stored(feed, quantised))["y"], quantised.tensors["y"])
            error = np.abs(value.astype(np.float64) - truth).reshape(-1, CHANNELS).max(0)
            bound = allowed(graph, quantised, feed, LARGEST[precision])
            assert (error <= bound).all(), f"{where}: errors {error} where {bound} is allowed"


factors = st.one_of(st.just(0.0), st.floats(-20, 6).map(lambda e: float(10.0**e)))
biases = st.one_of(st.just(0.0), st.floats(-12, 5).map(lambda e: float(10.0**e)), st.floats(-1e3, 1e3))


def per_channel(one: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(one, min_size=CHANNELS, max_size=CHANNELS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KINDS), st.sampled_from(("NONE", "RELU")), per_channel(factors), per_channel(biases))
@example("CONV_2D", "NONE", [0.0, 0.0, 0.0, 1e-14], [0.0] * CHANNELS)
@example("DEPTHWISE_CONV_2D", "RELU", [0.0, 0.0, 0.0, 1e-17], [0.0] * CHANNELS)
def test_no_channel_is_further_off_than_its_own_rounding(
    kind: str, activation: str, weights: list[float], bias: list[float]
) -> None:
    check(rescaled(layer(kind, activation), weights, bias))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [1.0, -1.0, 1e4, 1e-12])
@pytest.mark.parametrize("weight", [0.0, 1e-12, 1e-30])
def test_a_dead_channel_keeps_its_bias(kind: str, bias: float, weight: float) -> None:
    check(rescaled(layer(kind), [1, weight, 1, 1], [0.1, bias, 0, -0.1]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_layer_keeps_its_biases(kind: str) -> None:
    check(rescaled(layer(kind), [0] * 4, [0.1, -3, 0, 100]))
    check(rescaled(layer(kind), [0] * 4, [0] * 4))


def test_channels_that_never_pass_their_rectifier_leave_a_constant_zero() -> None:
    check(rescaled(layer("CONV_2D", "RELU"), [1] * 4, [-1e4] * 4))


def test_four_bit_weights_keep_the_bias_of_a_dead_channel() -> None:
    b = GraphBuilder()
    x = b.conv("first", b.input("x", 1, 6, 6, CHANNELS), CHANNELS)
    floating = rescaled(b.graph(b.conv("y", x, CHANNELS)), [1, 0, 1e-12, 1], [0.1, 5, -4, 0])
    assert dead_channel_error(floating, "int4") < 0.05


def dead_channel_error(floating: Graph, precision: Precision) -> float:
    frames = feeds(floating, 4)
    graph = quantise(floating, precision, measure(floating, frames))
    worst = 0.0
    for runner in runs(precision).values():
        for feed in frames:
            truth = run(floating, feed)["y"]
            value = real(runner(graph, stored(feed, graph))["y"], graph.tensors["y"])
            worst = max(worst, float(np.abs(value - truth)[..., 1:3].max()))
    return worst


def test_the_network_of_the_report_is_quiet() -> None:
    """A convolution with one pruned channel fell to 7 dB."""
    floating = rescaled(layer("CONV_2D"), [1, 0, 1, 1], [0.1, 1.0, 0, 0])
    frames = feeds(floating, 4)
    graph = quantise(floating, "int8", measure(floating, frames))
    report = layer_error(floating, graph, frames)
    assert report.worst is not None and report.worst.own_sqnr_db > 35
    bias = graph.constant("y/bias")
    assert bias is not None and np.abs(bias.astype(np.int64)).max() < 2**31 - 1


def test_weights_that_two_layers_share_are_kept_where_they_fit() -> None:
    """The same dead channel with and without a bias: one layer needs another scale, and the other keeps its own."""
    b = GraphBuilder()
    x = b.input("x", 1, 6, 6, CHANNELS)
    one = b.conv("y", x, CHANNELS)
    other = b.conv("z", x, CHANNELS)
    graph = b.graph(one, other)
    ops = (graph.ops[0], dataclasses.replace(graph.ops[1], inputs=("x", "y/weights", "z/bias")))
    graph = rescaled(dataclasses.replace(graph, ops=ops), [1, 0, 1, 1], [0, 1e4, 0, 0])
    graph = with_constant(graph, "z/bias", np.zeros(CHANNELS, np.float32))
    frames = feeds(graph, 3)
    quantised = quantise(graph, "int8", measure(graph, frames))
    for runner in runs().values():
        for feed in frames:
            truth, values = run(graph, feed), runner(quantised, stored(feed, quantised))
            for name in ("y", "z"):
                error = np.abs(real(values[name], quantised.tensors[name]) - truth[name]).max()
                assert error < 0.05 * max(1.0, float(np.abs(truth[name]).max()))


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (5.0, 6.0), (-6.0, -5.0), (0.0, 1e-30), (-1e-30, 1e-30)])
def test_a_constant_or_one_sided_input_stays_what_it_is(bounds: Range) -> None:
    graph = layer("CONV_2D")
    low, high = bounds
    feed = {"x": np.linspace(low, high, 144, dtype=np.float32).reshape(1, 6, 6, 4)}
    quantised = quantise(graph, "int8", measure(graph, [feed]))
    truth = run(graph, feed)["y"]
    for runner in runs().values():
        value = real(runner(quantised, stored(feed, quantised))["y"], quantised.tensors["y"])
        assert np.abs(value - truth).max() <= 0.02 * np.abs(truth).max()


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e-10, 1e-11])
@pytest.mark.parametrize("form", ["output", "input", "between", "padded"])
def test_a_network_in_tiny_units_loses_no_more_than_another(form: str, unit: float) -> None:
    """Values of 1e-11 throughout are as good as others, wherever in the network they are."""
    b = GraphBuilder()
    x = b.input("x", 1, 6, 6, CHANNELS)
    between = b.conv("between", x, CHANNELS, activation="RELU")
    if form == "padded":
        between = b.pad("padded", between, (1, 1), (1, 1))
    graph = b.graph(b.conv("y", between, CHANNELS))
    first = {"output": 1.0, "input": 1.0, "between": unit, "padded": unit}[form]
    last = {"output": unit, "input": 1.0, "between": 1 / unit, "padded": 1 / unit}[form]
    bias = {"output": (1.0, unit), "input": (unit, unit), "between": (unit, 1.0), "padded": (unit, 1.0)}[form]
    for name, factor, of_bias in (("between", first, bias[0]), ("y", last, bias[1])):
        weights, old = graph.constant(f"{name}/weights"), graph.constant(f"{name}/bias")
        assert weights is not None and old is not None
        graph = with_constant(with_constant(graph, f"{name}/weights", weights * factor), f"{name}/bias", old * of_bias)
    frames = [{"x": feed["x"] * np.float32(unit if form == "input" else 1)} for feed in feeds(graph, 3)]
    quantised = quantise(graph, "int8", measure(graph, frames))
    for where, runner in runs().items():
        for feed in frames:
            truth = run(graph, feed)["y"]
            value = real(runner(quantised, stored(feed, quantised))["y"], quantised.tensors["y"])
            assert np.abs(value - truth).max() <= 0.05 * np.abs(truth).max(), where


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, 1e-30), (-1e-7, 1e-7)])
def test_a_result_that_hardly_moves_is_no_garbage(kind: str, bounds: Range) -> None:
    """Where it comes out as zero or nearly so for all frames, an interpreter's fixed point would wrap or end."""
    b = GraphBuilder()
    x = b.input("x", 1, 4, 4, CHANNELS)
    b.op(kind, "sum", [x, x], (1, 4, 4, CHANNELS), fused_activation_function="NONE")
    graph = b.graph(b.conv("y", "sum", CHANNELS))
    frames = feeds(graph, 3)
    quantised = quantise(graph, "int8", {**measure(graph, frames), "sum": bounds})
    widest = quantised.tensors["sum"].quant
    assert widest is not None
    for runner in runs().values():
        for feed in frames:
            value = runner(dataclasses.replace(quantised, outputs=("sum",)), stored(feed, quantised))["sum"]
            assert np.abs(real(value, quantised.tensors["sum"])).max() <= 256 * widest.scales[0] < 10


@pytest.mark.parametrize("bounds", [(float("nan"), 1.0), (0.0, float("inf")), (float("-inf"), 0.0), (2.0, 1.0)])
def test_ranges_that_are_none_are_refused_by_name(bounds: Range) -> None:
    graph = layer("CONV_2D")
    with pytest.raises(ConversionError, match=r"range of tensor 'y'.*smaller one first"):
        quantise(graph, "int8", {"x": (-1.0, 1.0), "y": bounds})


def test_a_scale_that_no_product_bears_is_refused_by_name() -> None:
    graph = layer("CONV_2D")
    with pytest.raises(ConversionError, match=r"tensor 'y' would be stored in steps of .*float"):
        quantise(graph, "int8", {"x": (-1.0, 1.0), "y": (-1e30, 1e30)})


def test_sound_weights_are_what_the_quantiser_made_of_them() -> None:
    """Changed are the channels that have to be, and no other."""
    graph = layer("CONV_2D")
    frames = feeds(graph, 3)
    plain_one = quantise(graph, "int8", measure(graph, frames))
    dead = quantise(rescaled(graph, [1, 0, 1, 1], [0.1, 9, 0, 0]), "int8", measure(graph, frames))
    before, after = (g.constant("y/weights") for g in (plain_one, dead))
    assert before is not None and after is not None
    assert (before[[0, 2, 3]] == after[[0, 2, 3]]).all() and not after[1].any()
