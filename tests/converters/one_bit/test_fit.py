"""Layers of 1 bit solved from frames: nearer with two bases, and with all behind them solved anew."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import tapped
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.one_bit.fit import Solver
from multigraft.converters.quantising.layer_error import layer_error
from tests.converters.graph_builder import GraphBuilder
from tests.converters.low_bit.networks import fitting, network
from tests.converters.low_bit.test_fit import level


@pytest.fixture(scope="module")
def fit() -> Fitting:
    return fitting(network(), 256)


@pytest.fixture(scope="module")
def solver(fit: Fitting) -> Solver:
    return Solver(fit)


def test_two_bases_are_nearer_than_one_and_what_follows_makes_up_for_some_of_it(solver: Solver, fit: Fitting) -> None:
    wide = next(one for one in solver.candidates if one.name == "wide")
    one, two = (solver.solved({"wide": count}) for count in (1, 2))
    assert level(fit, one.graph) < level(fit, two.graph) < level(fit, fit.int8)
    assert two.errors["wide"] < one.errors["wide"]
    assert one.refitted == ("narrow", "down", "deep", "classes")
    assert level(fit, solver.alone(fit.int8, wide, 1)) < level(fit, one.graph)


def test_what_lies_before_and_beside_stays_as_it_is(solver: Solver, fit: Fitting) -> None:
    graph = solver.solved({"down": 1}).graph
    for name in ("stem", "wide", "narrow", "total"):
        assert graph.producer(name) is fit.int8.producer(name)
    assert [graph.tensors[n] for n in ("image", "down", "classes")] == [
        fit.int8.tensors[n] for n in ("image", "down", "classes")
    ]


def test_a_choice_gives_the_same_whatever_was_solved_before(solver: Solver, fit: Fitting) -> None:
    solver.solved({"wide": 2, "deep": 1})
    after = solver.solved({"wide": 1, "deep": 1})
    fresh = Solver(fit).solved({"wide": 1, "deep": 1})
    assert tapped(after.graph, after.graph.outputs) == tapped(fresh.graph, fresh.graph.outputs)
    assert after.errors == fresh.errors and set(after.errors) == {"wide", "deep"}


def test_the_sum_behind_a_noisy_layer_is_not_called_noisy_itself(solver: Solver, fit: Fitting) -> None:
    for bases in (1, 2):
        graph = solver.solved({"narrow": bases}).graph
        errors = {layer.tensor: layer for layer in layer_error(fit.floating, graph, fit.feeds[:4]).layers}
        assert errors["total"].sqnr_db < 20 < 30 < errors["total"].own_sqnr_db


@pytest.mark.parametrize("frames", [1, 2])
def test_one_frame_or_two_change_no_answer_beyond_noise(frames: int) -> None:
    few = fitting(network(), frames)
    graph = Solver(few).solved({"deep": 1}).graph
    assert level(few, graph) > 0
    assert all(np.isfinite(t.data).all() for t in graph.tensors.values() if t.data is not None)


def test_a_layer_that_signs_hold_is_found_without_loss() -> None:
    b = GraphBuilder(4)
    first = b.conv("first", b.input("image", 1, 8, 8, 2), 12, kernel=1, activation="RELU6")
    middle = b.conv("middle", first, 16, kernel=1)
    graph = b.graph(b.dense("classes", b.mean("mean", middle), 4))
    weights, bias = graph.tensors["first/weights"], graph.tensors["first/bias"]
    assert weights.data is not None and bias.data is not None
    weights.data[...] *= 1000  # so that almost all values lie at either end
    signs = graph.tensors["middle/weights"]
    assert signs.data is not None
    signs.data[...] = np.where(signs.data < 0, -0.1, 0.1)
    solver = Solver(fitting(graph, 32))
    assert solver.solved({"middle": 1}).errors["middle"] < 0.02
