"""A detector's boxes stay where they are: what decodes them and its first layers stay float where that is needed."""

from __future__ import annotations

import dataclasses

import pytest

from multigraft.converters.quantising.arithmetic_tail import arithmetic_tail, decoding_tail
from multigraft.converters.quantising.groups import FIRST_SHARES, first_layers
from multigraft.converters.quantising.improve import Quantised, Quantising
from multigraft.converters.quantising.rescue import Rescue, rescue
from multigraft.converters.quantising.silu_ranges import LEAST, read_by_silus, without_idle_ends
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import graph_macs, op_macs
from tests.converters.graph_builder import GraphBuilder, feeds, two_tasks
from tests.converters.quantising.detector import detector, overlaps

TAIL = ("bins", "likely", "means", "distances", "signed", "corners", "boxes", "logits", "scores")
IOU = 0.9


def rescued(floating: Graph, tail: tuple[str, ...]) -> tuple[Quantised, Quantised, Rescue]:
    """In int8, and with what was kept in float until every box for fitting overlaps by :data:`IOU`."""
    seen = feeds(floating, 64)
    plain = Quantising("int8", lambda count: seen[:count], {}).on(floating)

    def judge(graph: Graph) -> dict[str, float]:
        return {"find": float((overlaps(floating, graph, seen) >= IOU).mean())}

    lacking = 1 - judge(plain.graph)["find"]
    assert lacking > 0
    result, done = rescue(plain, (), judge, {"find": lacking}, seen[:8], tail=tail)
    assert done is not None
    return plain, result, done


@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_of_a_detector_stay_in_int8_where_they_are_in_float(seed: int) -> None:
    floating = detector(seed)
    plain, result, done = rescued(floating, decoding_tail(floating, (), floating.outputs))
    fresh = feeds(floating, 60, seed=5)
    assert (overlaps(floating, plain.graph, fresh) >= IOU).mean() < 0.9
    assert (overlaps(floating, result.graph, fresh) >= IOU).mean() >= 0.95
    assert all(result.graph.tensors[name].dtype == "float32" for name in TAIL)
    assert result.graph.tensors["class/conv"].dtype == "int8" or "class/conv" in [n.tensor for n in done.layers]
    assert done.float_macs >= sum(group.macs for group in done.groups) > 0
    said = " ".join(done.sentences())
    assert f"{done.groups[0].operators} operators" in said and "firmware takes no such bundle" in said
    assert [group["name"] for group in done.to_json()["groups"]] == [group.name for group in done.groups]


@pytest.mark.parametrize(("per_share", "is_chosen"), [(0.08, False), (0.5, True)])
def test_first_layers_stay_float_where_they_gain_enough_for_their_share(per_share: float, is_chosen: bool) -> None:
    """What is lacking is never reached here: the gain alone decides, by the work that becomes float."""
    floating = detector(0)
    seen = feeds(floating, 16)
    plain = Quantising("int8", lambda count: seen[:count], {}).on(floating)
    tail, total = decoding_tail(floating, (), floating.outputs), graph_macs(floating)

    def judge(graph: Graph) -> dict[str, float]:
        is_tail = graph.tensors["boxes"].dtype == "float32"
        first = [n for n in first_layers(floating, 1.0) if n not in tail and graph.tensors[n].dtype == "float32"]
        macs = sum(op_macs(floating, op) for op in floating.ops if op.outputs[0] in first)
        return {"find": 0.1 + 0.2 * is_tail + per_share * macs / total}

    _, done = rescue(plain, (), judge, {"find": 0.9}, seen[:4], tail=tail)
    assert done is not None and not done.is_enough
    assert ("the first layers" in [group.name for group in done.groups]) == is_chosen


def test_layers_behind_the_first_compute_float_values_with_8_bit_weights() -> None:
    floating = detector(0)
    seen = feeds(floating, 16)
    plain = Quantising("int8", lambda count: seen[:count], {}).on(floating)
    tail, total = decoding_tail(floating, (), floating.outputs), graph_macs(floating)

    def judge(graph: Graph) -> dict[str, float]:
        macs = sum(op_macs(graph, op) for op in graph.ops if graph.tensors[op.outputs[0]].dtype == "float32")
        return {"find": 0.5 + 0.4 * macs / total}

    result, done = rescue(plain, (), judge, {"find": 0.15}, seen[:4], tail=tail)
    assert done is not None and done.is_enough and not done.layers
    (group,) = [group for group in done.groups if group.weights_bits == 8]
    assert 0.3 * total < done.dynamic_macs == group.macs < done.float_macs < total
    weights = {n: result.graph.tensors[f"{n}/weights"].dtype for n in ("layer3/conv", "class/conv", "means")}
    assert weights == {"layer3/conv": "int8", "class/conv": "int8", "means": "float32"}
    assert result.graph.tensors["layer3/conv"].dtype == "float32" and result.graph.tensors["class/conv"].dtype == "int8"
    assert done.weights_bytes < 0.1 * floating.weights_bytes()
    said = " ".join(done.sentences())
    assert "layers with 8-bit weights" in said and f"{done.dynamic_macs:,} of them with 8-bit weights" in said
    assert done.to_json()["dynamic_macs"] == done.dynamic_macs


def test_layers_of_other_tasks_are_left_alone() -> None:
    tasks = two_tasks()
    own = first_layers(tasks, 1.0, ["b"])
    assert own == tuple(n for n in first_layers(tasks, 1.0) if not n.startswith("a")) and "b/conv" in own
    assert first_layers(tasks, 0.5, ["b"]) != first_layers(tasks, 0.5)


def test_without_decoded_answers_no_group_is_tried() -> None:
    _, _, done = rescued(detector(1), ())
    assert not done.groups and not done.has_whole_ranges and "groups" not in done.to_json()


def test_the_tail_is_the_arithmetic_behind_the_last_layers() -> None:
    floating = detector()
    assert arithmetic_tail(floating, (), floating.outputs) == TAIL
    assert arithmetic_tail(floating, ("likely", "logits"), floating.outputs) == (*TAIL[2:7], "scores")
    assert arithmetic_tail(floating, (), ["scores"]) == ("logits", "scores")
    assert not {"a/conv", "b/conv"} & set(arithmetic_tail(two_tasks(), (), ["a", "b"]))


def test_last_layers_are_with_it_where_they_are_cheap() -> None:
    floating = detector()
    assert decoding_tail(floating, (), ["scores"]) == ("classes", "logits", "scores")
    assert decoding_tail(floating, ("classes",), ["scores"]) == ("logits", "scores")
    assert decoding_tail(floating, (), floating.outputs) == TAIL
    tasks = two_tasks()
    assert decoding_tail(tasks, (), ["a", "b"]) == arithmetic_tail(tasks, (), ["a", "b"])


@pytest.mark.parametrize("share", FIRST_SHARES)
def test_the_first_layers_have_no_more_than_their_share(share: float) -> None:
    floating = detector()
    first = first_layers(floating, share)
    macs = [op_macs(floating, op) for op in floating.ops]
    assert first == tuple(name for op in floating.ops[: len(first)] for name in op.outputs)
    assert sum(macs[: len(first)]) <= share * graph_macs(floating) < sum(macs[: len(first) + 1])


def test_only_what_a_silu_reads_alone_loses_its_far_negative_end() -> None:
    floating = detector()
    read = {op.inputs[0] for op in floating.ops if op.name == "LOGISTIC"} - {"logits"}
    assert read_by_silus(floating) == read
    ranges = dict.fromkeys(floating.tensors, (-100.0, 50.0))
    cut = without_idle_ends(floating, ranges)
    assert {name for name, bounds in cut.items() if bounds == (LEAST, 50.0)} == read
    assert {bounds for name, bounds in cut.items() if name not in read} == {(-100.0, 50.0)}
    also_read = dataclasses.replace(floating, outputs=(*floating.outputs, "class/conv"))
    assert read_by_silus(also_read) == read - {"class/conv"}
    assert without_idle_ends(floating, dict.fromkeys(read, (-100.0, -20.0))) == dict.fromkeys(read, (LEAST, 0.0))


def test_a_gate_on_other_values_keeps_its_range() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 4, 4, 3)
    y, z = b.conv("y", x, 3), b.conv("z", x, 3)
    gate = b.op("LOGISTIC", "gate", [y], (1, 4, 4, 3))
    graph = b.graph(b.op("MUL", "gated", [z, gate], (1, 4, 4, 3)))
    assert not read_by_silus(graph)
