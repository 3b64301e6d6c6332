"""Quantising float graphs: precisions, kept layers, ends, ranges, error per layer; on every installed interpreter."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from multigraft.converters.conversion.interpreters import available
from multigraft.converters.quantising.keep_float import operators_to_keep
from multigraft.converters.quantising.layer_error import SILENT_DB, layer_error, real, sqnr_db, stored
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import complete, measure
from multigraft.errors import ConversionError, UsageError
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import PLAIN_PRECISIONS, GraphBuilder, feeds, run, two_tasks
from tests.converters.onnx_builder import OnnxBuilder

TOLERANCES: dict[Precision, float] = {"int8": 0.04, "int4": 0.2, "dynamic": 0.03, "float32": 1e-6}
"""Largest difference to float over the range of the output; 4-bit weights of random networks are coarse."""


def quantised(graph: Graph, precision: Precision, keep: tuple[str, ...] = ()) -> Graph:
    return quantise(graph, precision, measure(graph, feeds(graph, 16)), keep)


def error(floating: Graph, graph: Graph, backend: str) -> float:
    worst = 0.0
    for feed in feeds(floating, 4):
        truth, stored_values = run(floating, feed), run(graph, stored(feed, graph), backend)
        for name in floating.outputs:
            difference = np.abs(real(stored_values[name], graph.tensors[name]) - truth[name]).max()
            worst = max(worst, float(difference / np.abs(truth[name]).max()))
    return worst


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("precision", PLAIN_PRECISIONS)
def test_every_precision_computes_about_the_same_on_every_interpreter(precision: Precision, backend: str) -> None:
    floating = two_tasks()
    assert error(floating, quantised(floating, precision), backend) < TOLERANCES[precision]


def test_static_int8_reads_and_writes_integers_under_the_same_names() -> None:
    graph = quantised(two_tasks(), "int8")
    assert (graph.inputs, graph.outputs) == (("image",), ("a", "b"))
    ends = {n: graph.tensors[n] for n in ("image", "trunk", "a", "b")}
    assert {t.dtype for t in ends.values()} == {"int8"}
    assert all(t.quant is not None and t.quant.per_tensor for t in ends.values())
    assert not {"QUANTIZE", "DEQUANTIZE"} & {op.name for op in graph.ops}


def test_convolution_weights_are_per_channel() -> None:
    graph = quantised(two_tasks(), "int8")
    quant = graph.tensors["first/weights"].quant
    assert quant is not None and len(quant.scales) == 8


def test_dynamic_keeps_float_ends_and_shrinks_weights() -> None:
    floating = two_tasks()
    graph = quantise(floating, "dynamic")
    assert {graph.tensors[n].dtype for n in ("image", "trunk", "a", "b")} == {"float32"}
    assert graph.weights_bytes() < floating.weights_bytes() / 2


def test_int4_packs_all_convolutions_but_the_first() -> None:
    graph = quantised(two_tasks(), "int4")
    types = {op.outputs[0]: graph.tensors[op.inputs[1]].dtype for op in graph.ops if op.name == "CONV_2D"}
    assert types == {"first": "int8", "a/conv": "int4", "b/conv": "int4"}
    assert graph.tensors["a/weights"].dtype == "int8"


@pytest.mark.parametrize(
    ("keep", "floats"),
    [(("a",), {"a"}), (("first",), {"image", "first"}), (("trunk",), {"trunk"}), (("a", "b"), {"a", "b"})],
)
def test_kept_layers_stay_float_and_so_do_the_ends_they_touch(keep: tuple[str, ...], floats: set[str]) -> None:
    floating = two_tasks()
    graph = quantised(floating, "int8", keep)
    assert {n for n in ("image", "first", "trunk", "a", "b") if graph.tensors[n].dtype == "float32"} == floats
    for backend in available():
        assert error(floating, graph, backend) < 0.05


@pytest.mark.parametrize("backend", available())
def test_layers_on_float_values_keep_8_bit_weights(backend: str) -> None:
    floating = two_tasks()
    values = ("first", "second", "trunk", "padded", "a/conv", "a/mean", "a")
    graph = quantise(floating, "int8", measure(floating, feeds(floating, 16)), float_values=values)
    assert {graph.tensors[n].dtype for n in ("image", *values)} == {"float32"}
    assert {graph.tensors[n].dtype for n in ("b/conv", "b/mean", "b")} == {"int8"}
    weights = {n: graph.tensors[f"{n}/weights"].dtype for n in ("first", "second", "a/conv", "a", "b")}
    assert weights == {"first": "int8", "second": "float32", "a/conv": "int8", "a": "int8", "b": "int8"}
    quant = graph.tensors["a/conv/weights"].quant
    assert quant is not None and len(quant.scales) == 8
    assert error(floating, graph, backend) < 0.03


def test_what_stays_float_has_float_weights_beside_float_values_too() -> None:
    floating = two_tasks()
    values = ("first", "second", "trunk", "padded", "a/conv")
    graph = quantise(floating, "int8", measure(floating, feeds(floating, 4)), ["a/conv"], float_values=values)
    assert graph.tensors["a/conv/weights"].dtype == "float32" and graph.tensors["first/weights"].dtype == "int8"


def test_an_output_that_the_network_reads_again_keeps_its_name() -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 6, 6, 3), 4, activation="RELU")
    floating = b.graph("conv", b.conv("out", x, 2))
    graph = quantised(floating, "int8")
    assert graph.outputs == ("conv", "out")
    assert error(floating, graph, "ai-edge-litert") < 0.05


def test_given_ranges_win_and_others_are_measured() -> None:
    graph = two_tasks()
    ranges = measure(graph, feeds(graph, 4), {"first": (-1.0, 9.0), "not there": (0.0, 1.0)})
    assert ranges["first"] == (-1.0, 9.0) and "not there" not in ranges
    assert ranges["image"][0] < 0 < ranges["image"][1]
    wide = quantise(graph, "int8", {**ranges, "trunk": (0.0, 255.0)})
    quant = wide.tensors["trunk"].quant
    assert quant is not None and quant.scales[0] == pytest.approx(1.0)


def test_ranges_of_operators_that_pass_values_on_follow() -> None:
    graph = two_tasks()
    ranges = measure(graph, feeds(graph, 4))
    del ranges["padded"], ranges["a/mean"]
    full = complete(graph, ranges)
    assert full["padded"] == (0.0, ranges["trunk"][1])
    del ranges["first"]
    with pytest.raises(ConversionError, match="'first'"):
        quantise(graph, "int8", ranges)


def test_a_leaky_rectifier_runs_on_integers() -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 8, 8, 3), 4)
    leaky = b.op("LEAKY_RELU", "leaky", [x], (1, 8, 8, 4), alpha=0.125)
    both = b.op("ADD", "both", [b.conv("one", leaky, 4), leaky], (1, 8, 8, 4), fused_activation_function="NONE")
    floating = b.graph(b.conv("out", both, 2))
    graph = quantised(floating, "int8")
    assert not {"QUANTIZE", "DEQUANTIZE"} & {op.name for op in graph.ops}
    assert graph.tensors["leaky"].dtype == "int8"
    for backend in available():
        assert error(floating, graph, backend) < 0.05
    kept = quantised(floating, "int8", ("leaky",))
    assert kept.tensors["leaky"].dtype == "float32"


def test_several_leaky_rectifiers_run_on_integers() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 8, 8, 3)
    for name in ("one", "two", "three"):
        x = b.op("LEAKY_RELU", f"{name}/leaky", [b.conv(name, x, 4)], (1, 8, 8, 4), alpha=0.125)
    floating = b.graph(b.conv("out", x, 2))
    graph = quantised(floating, "int8")
    assert [op.name for op in graph.ops] == [op.name for op in floating.ops]
    for backend in available():
        assert error(floating, graph, backend) < 0.05


@pytest.mark.parametrize("bound", [-np.inf, -1e30, -1e4])
def test_a_bound_that_no_value_reaches_costs_no_steps(bound: float) -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 8, 8, 3), 4)
    bounded = b.op("MAXIMUM", "bounded", [b.constant("bound", np.full(1, bound)), x], (1, 8, 8, 4))
    floating = b.graph(b.conv("out", bounded, 2))
    graph = quantised(floating, "int8")
    assert graph.tensors["bounded"].dtype == "int8"
    for backend in available():
        assert error(floating, graph, backend) < 0.05


def test_what_reads_an_infinite_constant_stays_float() -> None:
    b = GraphBuilder()
    x = b.dense("dense", b.mean("mean", b.conv("conv", b.input("x", 1, 8, 8, 3), 4)), 4)
    divided = b.op("DIV", "divided", [x, b.constant("by", np.array([[1, np.inf, 2, 4]]))], (1, 4))
    floating = b.graph(b.dense("out", divided, 3))
    graph = quantised(floating, "int8")
    assert graph.tensors["divided"].dtype == "float32" and graph.tensors["dense"].dtype == "int8"
    for backend in available():
        assert error(floating, graph, backend) < 0.05


def test_a_square_root_stays_float_since_older_interpreters_have_none_of_integers() -> None:
    b = GraphBuilder()
    positive = b.op("LOGISTIC", "positive", [b.conv("conv", b.input("x", 1, 8, 8, 3), 4)], (1, 8, 8, 4))
    floating = b.graph(b.conv("out", b.op("SQRT", "root", [positive], (1, 8, 8, 4)), 2))
    graph = quantised(floating, "int8")
    assert graph.tensors["root"].dtype == "float32" and graph.tensors["conv"].dtype == "int8"
    for backend in available():
        assert error(floating, graph, backend) < 0.05


def test_a_pad_of_minus_infinity_before_maximum_pooling_gets_a_sane_scale() -> None:
    b = GraphBuilder()
    x = b.conv("conv", b.input("x", 1, 8, 8, 3), 4)
    padded = b.pad("padded", x, (1, 1), (1, 1), float(np.finfo(np.float32).min))
    window = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2}
    pooled = b.op("MAX_POOL_2D", "pooled", [padded], (1, 4, 4, 4), padding="VALID", **window)
    floating = b.graph(b.conv("out", pooled, 2))
    graph = quantised(floating, "int8")
    quant = graph.tensors["padded"].quant
    assert quant is not None and quant.scales[0] < 1
    for backend in available():
        assert error(floating, graph, backend) < 0.05


def test_frames_that_overflow_are_named() -> None:
    graph = two_tasks()
    bad = {"image": np.full(graph.tensors["image"].shape, np.inf, np.float32)}
    with pytest.raises(ConversionError, match="image"):
        measure(graph, [bad])


def test_the_worst_layer_is_the_one_with_the_outlier_weight() -> None:
    """One weight a hundred times the others leaves the rest of its row two bits."""
    floating = two_tasks()
    weights = floating.constant("a/weights")
    assert weights is not None
    spoilt = weights.copy()
    spoilt[:, 0] *= 300
    tensors = {**floating.tensors, "a/weights": dataclasses.replace(floating.tensors["a/weights"], data=spoilt)}
    floating = dataclasses.replace(floating, tensors=tensors)
    mean = feeds(floating, 4)
    graph = quantise(floating, "int8", {**measure(floating, mean), "a": (-3000.0, 3000.0)})
    report = layer_error(floating, graph, mean)
    assert report.worst is not None and report.worst.tensor == "a"
    assert report.frames == 4
    others = [layer for layer in report.layers if layer.tensor != "a"]
    assert len(others) >= 7 and min(layer.own_sqnr_db for layer in others) > 25
    assert report.to_json()["worst"] == "a"


def test_error_accumulates_but_each_layer_is_also_judged_alone() -> None:
    floating = two_tasks()
    graph = quantised(floating, "int8", ("second",))
    report = {layer.tensor: layer for layer in layer_error(floating, graph, feeds(floating, 4)).layers}
    assert report["second"].own_sqnr_db == SILENT_DB
    assert report["second"].sqnr_db < 60


def test_sqnr_is_what_the_book_says() -> None:
    truth = [np.array([3.0, 4.0], np.float32)]
    assert sqnr_db(truth, [np.array([3.5, 4.0], np.float32)]) == pytest.approx(20.0)
    assert sqnr_db(truth, truth) == SILENT_DB


def onnx_network() -> onnx.ModelProto:
    b = OnnxBuilder()
    x = b.conv_relu("first", b.input("image", 2, 12, 12), 8)
    return b.model(b.classifier("a", x, 5))


def test_layers_to_keep_are_found_by_node_tensor_kind_and_through_fusion() -> None:
    b = GraphBuilder()
    first = b.conv("first", b.input("image", 1, 12, 12, 2), 8, activation="RELU")
    graph = b.graph(b.dense("a", b.mean("a.pool", first), 5))
    model = onnx_network()
    assert operators_to_keep(graph, model, ["node_a"]) == {"a"}
    assert operators_to_keep(graph, model, ["a"]) == {"a"}
    assert operators_to_keep(graph, model, ["Gemm"]) == operators_to_keep(graph, model, ["FULLY_CONNECTED"]) == {"a"}
    assert operators_to_keep(graph, model, [r"first\.conv"]) == {"first"}
    assert operators_to_keep(graph, model, ["first.*", "a"]) == {"first", "a"}
    assert operators_to_keep(graph, model, []) == frozenset()


@pytest.mark.parametrize(("pattern", "words"), [("nothing", "matches no layer"), ("(", "no regular expression")])
def test_patterns_that_do_not_work_are_named(pattern: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        operators_to_keep(two_tasks(), onnx_network(), [pattern])
