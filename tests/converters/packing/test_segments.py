"""Cutting a quantised graph into segments, and the check that nothing changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import Runner, available
from multigraft.converters.network.multitask import SegmentSpec
from multigraft.converters.packing.segments import cut_into_segments
from multigraft.converters.packing.verify import affordable, random_inputs, run_segments, verify_segments
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import measure
from multigraft.errors import ConversionError
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Tensor
from tests.converters.graph_builder import PLAIN_PRECISIONS, feeds, two_tasks

SEGMENTS = (
    SegmentSpec("trunk", ("image",), ("trunk",)),
    SegmentSpec("head_a", ("trunk",), ("a",)),
    SegmentSpec("head_b", ("trunk",), ("b",)),
)
BOUNDARIES = {"trunk": "trunk", "a": "a", "b": "b"}


def quantised(precision: Precision = "int8", keep: tuple[str, ...] = ()) -> Graph:
    graph = two_tasks()
    return quantise(graph, precision, measure(graph, feeds(graph, 8)), keep)


@pytest.mark.parametrize("keep", [(), ("trunk",), ("a/conv",), ("first", "b")])
@pytest.mark.parametrize("precision", PLAIN_PRECISIONS)
def test_segments_in_turn_equal_the_uncut_model_on_every_interpreter(
    precision: Precision, keep: tuple[str, ...]
) -> None:
    graph = quantised(precision, keep)
    model, segments = cut_into_segments(graph, SEGMENTS, BOUNDARIES)
    inputs = random_inputs(graph, 200)
    verification = verify_segments(graph, tflite_file.write(model), segments, BOUNDARIES, ["a", "b"], inputs)
    assert (verification.inputs, verification.mismatches, verification.refused) == (200, 0, {})
    assert tuple(verification.backends) == available()


def test_signatures_are_named_as_segments_and_boundaries() -> None:
    model, _ = cut_into_segments(quantised(), SEGMENTS, BOUNDARIES)
    assert [(s.name, dict(s.inputs), dict(s.outputs)) for s in model.signatures] == [
        ("trunk", {"image": "image"}, {"trunk": "trunk"}),
        ("head_a", {"trunk": "trunk"}, {"a": "a"}),
        ("head_b", {"trunk": "trunk"}, {"b": "b"}),
    ]
    assert [g.operator_counts() for g in model.subgraphs] == [
        {"ADD": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1},
        {"CONV_2D": 1, "FULLY_CONNECTED": 1, "MEAN": 1, "PAD": 1},
        {"CONV_2D": 1, "FULLY_CONNECTED": 1, "MEAN": 1, "PAD": 1},
    ]


def test_weights_that_segments_share_are_stored_once() -> None:
    graph = quantised()
    one, _ = cut_into_segments(graph, SEGMENTS, BOUNDARIES)
    heads = [SegmentSpec("head_c", ("trunk",), ("a",)), *SEGMENTS]
    twice, _ = cut_into_segments(graph, [heads[1], heads[0], *heads[2:]], BOUNDARIES)
    more = len(tflite_file.write(twice)) - len(tflite_file.write(one))
    assert more < len(tflite_file.write(one)) / 2
    content = tflite_file.write(twice)
    weights = graph.constant("a/conv/weights")
    assert weights is not None and content.count(weights.tobytes()) == 1


def test_two_names_for_one_tensor_both_come_out() -> None:
    graph = quantised()
    boundaries = {**BOUNDARIES, "alias": "a"}
    segments = [*SEGMENTS[:1], SegmentSpec("head_a", ("trunk",), ("a", "alias")), SEGMENTS[2]]
    model, used = cut_into_segments(graph, segments, boundaries)
    feed = random_inputs(graph, 1)[0]
    for backend in available():
        values = run_segments(Runner(tflite_file.write(model), backend), used, feed)
        np.testing.assert_array_equal(values["a"], values["alias"])


def test_an_input_that_a_segment_does_not_read_is_dropped() -> None:
    graph = quantised()
    segments = [*SEGMENTS[:2], SegmentSpec("head_b", ("image", "trunk"), ("b",))]
    _, used = cut_into_segments(graph, segments, BOUNDARIES)
    assert used[2].inputs == ("trunk",)


def test_a_segment_that_reads_round_its_inputs_is_refused() -> None:
    segments = [SegmentSpec("trunk", ("image",), ("second",)), SegmentSpec("head_a", ("second",), ("a",))]
    with pytest.raises(ConversionError, match=r"head_a.*'image'"):
        cut_into_segments(quantised(), segments, {"second": "second", "a": "a"})


def test_an_unknown_boundary_is_named() -> None:
    with pytest.raises(ConversionError, match="'middle'"):
        cut_into_segments(quantised(), [SegmentSpec("trunk", ("image",), ("middle",))], BOUNDARIES)


def test_a_difference_of_one_weight_is_found() -> None:
    graph = quantised()
    model, segments = cut_into_segments(graph, SEGMENTS, BOUNDARIES)
    head = model.subgraphs[1]
    weights = head.tensors["a/weights"]
    assert weights.data is not None
    changed = weights.data.copy()
    changed[2, 3] ^= 64
    tensors = {**head.tensors, "a/weights": dataclasses.replace(weights, data=changed)}
    damaged = Model(
        (model.subgraphs[0], dataclasses.replace(head, tensors=tensors), model.subgraphs[2]), model.signatures
    )
    with pytest.raises(ConversionError, match="'a' at input"):
        verify_segments(graph, tflite_file.write(damaged), segments, BOUNDARIES, ["a", "b"], random_inputs(graph, 200))


def test_random_inputs_cover_the_whole_range() -> None:
    values = np.concatenate([f["image"].reshape(-1) for f in random_inputs(quantised(), 50)])
    assert values.dtype == np.int8 and set(values.tolist()) == set(range(-128, 128))


def test_a_large_model_is_compared_on_fewer_inputs_from_first_to_last() -> None:
    side = 40_000
    tensors = [Tensor("x", (1, side)), Tensor("w", (side, side)), Tensor("y", (1, side))]
    large = Graph.of("large", ["x"], ["y"], [Op("FULLY_CONNECTED", ("x", "w"), ("y",))], tensors)
    inputs = [{"x": np.full(1, i)} for i in range(216)]
    assert [int(i["x"][0]) for i in affordable(large, inputs)] == [0, 30, 61, 92, 122, 153, 184, 215]
    assert affordable(quantised(), inputs) == inputs
