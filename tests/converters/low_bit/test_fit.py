"""Layers solved in turn: they answer nearer to the float network than layers rounded by themselves."""

from __future__ import annotations

from multigraft.converters.conversion.interpreters import tapped
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.low_bit.layer import with_few_bits
from multigraft.converters.quantising.improve import output_sqnr_db
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import feeds, run
from tests.converters.low_bit.networks import fitting, network


def level(fit: Fitting, graph: Graph) -> float:
    """Signal over noise of the outputs on frames that fit nothing, dB."""
    held_out = feeds(fit.floating, 32, seed=9)
    truth = [run(fit.floating, feed) for feed in held_out]
    return output_sqnr_db(truth, graph, held_out)["classes"]


def test_solved_in_turn_is_nearer_than_rounded_alone_and_4_bits_nearer_than_2() -> None:
    fit = fitting(network())
    names = [layer.name for layer in fit.layers]
    alone = fit.alone(dict.fromkeys(names, (2,)))
    together = fit.int8
    for layer in fit.layers:
        together = with_few_bits(together, layer, *alone[layer.name, 2], 2)
    two, four = fit.solved(dict.fromkeys(names, 2)), fit.solved(dict.fromkeys(names, 4))
    assert level(fit, together) < level(fit, two.graph) < level(fit, four.graph) < level(fit, fit.int8)
    assert two.errors.keys() == set(names) and not two.refused
    assert all(two.errors[name] > four.errors[name] for name in names)


def test_layers_that_are_not_chosen_stay_as_they_are() -> None:
    fit = fitting(network())
    graph = fit.solved({"wide": 2}).graph
    assert {t.dtype for t in graph.tensors.values() if t.data is not None} == {"int8", "int32", "int2"}
    kept = [op for op in graph.ops if op.outputs[0] not in ("wide",)]
    assert all(any(op is other for other in fit.int8.ops) for op in kept)
    ends = [fit.int8.tensors[n] for n in ("image", "wide", "classes")]
    assert [graph.tensors[n] for n in ("image", "wide", "classes")] == ends


def test_equal_frames_give_equal_weights() -> None:
    fit = fitting(network(), 16)
    first, second = (fit.solved({"down": 2, "classes": 4}).graph for _ in range(2))
    assert tapped(first, first.outputs) == tapped(second, second.outputs)
