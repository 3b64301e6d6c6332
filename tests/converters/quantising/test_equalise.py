"""Cross-layer equalisation: the float network stays equal to the last bit, and channels come nearer to each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multigraft.converters.quantising.channels import Channel, measure_channels
from multigraft.converters.quantising.equalise import equalised, factors, joints, rescaled
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds, run, with_constant
from tests.converters.quantising.mobile_network import mobile_network


def equalise(graph: Graph, fixed: tuple[str, ...] = ()) -> tuple[Graph, tuple[str, ...]]:
    names = [n for j in joints(graph, fixed) for n in j.tensors]
    return equalised(graph, fixed, measure_channels(graph, names, feeds(graph, 4)) if names else {})


def assert_equal_bits(one: Graph, other: Graph) -> None:
    for feed in feeds(one, 3, seed=7):
        values, expected = run(other, feed), run(one, feed)
        for name in one.outputs:
            assert np.array_equal(values[name].view(np.uint32), expected[name].view(np.uint32))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(0.7, 4), st.integers(0, 50))
def test_the_float_network_stays_equal_to_the_last_bit(imbalance: float, seed: int) -> None:
    graph = mobile_network(imbalance, seed)
    changed, tensors = equalise(graph)
    assert tensors
    assert_equal_bits(graph, changed)


def between(kind: str) -> Graph:
    """Two convolutions with one operator between, the first one's channels a factor of 4096 apart."""
    b = GraphBuilder()
    first = b.conv("first", b.input("x", 1, 8, 8, 3), 6)
    window: dict[str, int | str] = {
        "filter_height": 2,
        "filter_width": 2,
        "stride_h": 2,
        "stride_w": 2,
        "padding": "VALID",
    }
    if kind == "MEAN":
        graph = b.graph(b.dense("y", b.mean("middle", first), 4))
    elif kind == "RESHAPE":
        graph = b.graph(b.dense("y", b.reshape("middle", b.mean("pooled", first, keep=True), 1, 6), 4))
    else:
        shape = (1, 4, 4, 6) if "POOL" in kind else (1, 8, 8, 6)
        middle = b.pad("middle", first, (1, 1), (1, 1)) if kind == "PAD" else ""
        middle = middle or b.op(kind, "middle", [first], shape, 1, **(window if "POOL" in kind else {}))
        graph = b.graph(b.conv("y", middle, 4))
    weights = graph.constant("first/weights")
    assert weights is not None
    return with_constant(graph, "first/weights", weights * 4.0 ** -np.arange(6).reshape(-1, 1, 1, 1))


@pytest.mark.parametrize("kind", ["RELU", "LEAKY_RELU", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RESHAPE"])
def test_it_reaches_through_what_scales_with_its_input(kind: str) -> None:
    graph = between(kind)
    changed, tensors = equalise(graph)
    assert tensors == ("first",)
    assert_equal_bits(graph, changed)


@pytest.mark.parametrize("kind", ["RELU6", "TANH", "LOGISTIC"])
def test_it_does_not_reach_through_what_does_not(kind: str) -> None:
    graph = between(kind)
    assert equalise(graph) == (graph, ())


def test_a_fused_activation_with_two_limits_holds_it_off() -> None:
    graph = between("RELU")
    first = graph.ops[0].with_options(fused_activation_function="RELU_N1_TO_1")
    assert not joints(dataclasses.replace(graph, ops=(first, *graph.ops[1:])), ())


def test_a_rectifier_that_ends_lets_through_what_stays_well_below_its_end() -> None:
    graph = mobile_network(3.0, activation="RELU6")
    changed, tensors = equalise(graph)
    assert len(tensors) == 10
    for feed in feeds(graph, 4):
        assert np.array_equal(run(changed, feed)["y"], run(graph, feed)["y"])
    before, after = (measure_channels(g, ["0/expand"], feeds(g, 4))["0/expand"].span for g in (graph, changed))
    assert before.max() / before.min() > 100 and after.max() / after.min() < 10
    assert (after[after != before] <= 3).all()
    joint = next(j for j in joints(graph, ()) if j.tensor == "0/expand")
    spans = np.array([6.0, 5.99, 5.0, 2.0, 0.1, *[6.0] * (before.size - 5)])
    divisors = factors(graph, joint, spans)
    assert (divisors[[0, 1, 2]] == 1).all() and divisors[3] <= 1 and divisors[4] < 1
    assert 2 * 0.1 / divisors[4] <= 6 and (divisors <= 1).all()


def test_every_reader_takes_its_part() -> None:
    b = GraphBuilder()
    first = b.conv("first", b.input("x", 1, 8, 8, 3), 6, activation="RELU")
    graph = b.graph(b.conv("y", first, 4), b.conv("z", first, 0, depthwise=True))
    weights = graph.constant("first/weights")
    assert weights is not None
    graph = with_constant(graph, "first/weights", weights * 4.0 ** -np.arange(6).reshape(-1, 1, 1, 1))
    changed, tensors = equalise(graph)
    assert tensors == ("first",)
    assert_equal_bits(graph, changed)


def test_what_has_to_stay_stays() -> None:
    """Cuts, outputs, and weights that two layers have in common."""
    graph = mobile_network(2.0)
    names = {j.tensor for j in joints(graph, ())}
    paths = {"stem", "1/project", "3/project"}
    assert names == {f"{n}/{part}" for n in range(5) for part in ("expand", "depth")} | paths
    assert {j.tensor for j in joints(graph, ("2/sum",))} == names - {"1/project"}
    assert {j.tensor for j in joints(graph, ("0/expand",))} == names - {"0/expand"}
    tapped = dataclasses.replace(graph, outputs=(*graph.outputs, "1/depth"))
    assert {j.tensor for j in joints(tapped, ())} == names - {"1/depth"}
    shared = between("RELU")
    twin = dataclasses.replace(shared.ops[0], outputs=("twin",))
    tensors = {**shared.tensors, "twin": dataclasses.replace(shared.tensors["first"], name="twin")}
    assert not joints(dataclasses.replace(shared, ops=(*shared.ops, twin), tensors=tensors), ())


def test_what_is_added_up_is_rescaled_alike() -> None:
    """A residual path whose channels differ by thousands: all that goes into the sums, and all that reads them."""
    graph = mobile_network()
    joint = next(j for j in joints(graph, ()) if j.tensor == "1/project")
    assert joint.tensors == ("1/project", "2/project", "2/sum")
    assert {r.result for r in joint.readers} == {"2/expand", "3/expand"}
    spoilt = rescaled(graph, joint, np.exp2(np.arange(12) - 6.0))
    assert_equal_bits(graph, spoilt)
    changed, tensors = equalise(spoilt)
    assert set(joint.tensors) <= set(tensors)
    assert_equal_bits(graph, changed)
    before, after = (measure_channels(g, ["2/sum"], feeds(g, 4))["2/sum"].span for g in (spoilt, changed))
    assert after.max() / after.min() < before.max() / before.min() / 30


@pytest.mark.parametrize("kind", ["MUL", "RELU6", "constant", "twice"])
def test_a_sum_of_something_else_stays(kind: str) -> None:
    """With a rectifier that ends, with a constant, where a product reads it, where an addend is scaled otherwise."""
    b = GraphBuilder()
    x = b.conv("first", b.input("x", 1, 8, 8, 3), 6)
    shape = b.tensors[x].shape
    if kind == "constant":
        other = b.constant("offset", np.ones(shape, np.float32))
    else:
        other = b.conv("second", x, 6, activation="RELU6" if kind == "RELU6" else "NONE")
    total = b.op("ADD", "sum", [x, other], shape, fused_activation_function="NONE")
    if kind == "MUL":
        total = b.op("MUL", "product", [total, total], shape, fused_activation_function="NONE")
    graph = b.graph(b.conv("y", total, 4), *(["sum"] if kind == "twice" else []))
    assert "first" not in {n for j in joints(graph, ()) for n in j.tensors}


def test_channels_before_a_depthwise_layer_come_to_one_span() -> None:
    graph = mobile_network(3.0)
    changed, _ = equalise(graph)
    before, after = (measure_channels(g, ["0/expand"], feeds(g, 4))["0/expand"].span for g in (graph, changed))
    assert before.max() / before.min() > 100
    assert after.max() / after.min() <= 2.01
    assert before.max() / 2 <= after.max() <= before.max() * 2


def test_a_network_that_is_balanced_is_left_alone() -> None:
    graph = between("RELU")
    joint = joints(graph, ())[0]
    assert (factors(graph, joint, np.array([1.0, 0.9, 1.1, 0.8, 1.2, 1.0])) == 1).all()


def test_dead_channels_are_no_reason_to_rescale() -> None:
    graph = between("RELU")
    joint = joints(graph, ())[0]
    assert (factors(graph, joint, np.array([1.0, 0.9, 0, 0, 1.2, 1.0])) == 1).all()
    assert (factors(graph, joint, np.zeros(6)) == 1).all()
    changed = rescaled(graph, joint, factors(graph, joint, np.array([1.0, 1e-3, 0, 1e-30, 1.2, 1.0])))
    assert_equal_bits(graph, changed)


def test_spans_and_means_are_per_channel() -> None:
    graph = mobile_network()
    one, other = feeds(graph, 2)
    measured = measure_channels(graph, ["x"], [one, other])["x"]
    both = np.concatenate([one["x"], other["x"]]).reshape(-1, 3)
    assert isinstance(measured, Channel)
    assert measured.span == pytest.approx(np.abs(both).max(0))
    assert measured.mean == pytest.approx(both.mean(0), abs=1e-6)
    assert measure_channels(graph, ["x"], []) == {}
