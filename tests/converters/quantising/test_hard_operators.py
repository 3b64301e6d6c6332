"""Operators on which the quantiser stops, or that stop the interpreter once they are integers."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.interpreters import Arrays, Runner, tapped
from multigraft.converters.quantising.layer_error import SILENT_DB, real, sqnr_db, stored
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import measure
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph, Op, Tensor

RNG = np.random.default_rng(2)


def quantised_answer(graph: Graph, feeds: list[Arrays]) -> tuple[Graph, float]:
    """The int8 graph, and the SQNR of its one output on ``feeds`` in dB."""
    int8 = quantise(graph, "int8", measure(graph, feeds))
    (name,) = graph.outputs
    exact, runner = Runner(tapped(graph, [name])), Runner(tapped(int8, [name]))
    truth = [exact(f)[name] for f in feeds]
    return int8, sqnr_db(truth, [real(runner(stored(f, int8))[name], int8.tensors[name]) for f in feeds])


def test_a_division_by_what_is_computed_stays_in_float() -> None:
    """A layer norm divides by a spread that rounds to zero for a flat patch."""
    tensors = [Tensor("x", (1, 8)), Tensor("d", (1, 8)), Tensor("s", (1, 8)), Tensor("y", (1, 8))]
    ops = [Op("ABS", ("d",), ("s",)), Op("DIV", ("x", "s"), ("y",))]
    graph = Graph.of("division", ["x", "d"], ["y"], ops, tensors)
    feeds = [
        {
            "x": RNG.standard_normal((1, 8)).astype(np.float32) * 1e-3,
            "d": np.array([[1e-3, 2e-3, 1, 2, 3, 4, 5, 6]], np.float32),
        }
        for _ in range(8)
    ]
    int8, _ = quantised_answer(graph, feeds)
    division = next(op for op in int8.ops if op.name == "DIV")
    assert {int8.tensors[n].dtype for n in (*division.inputs, *division.outputs)} == {"float32"}


def test_a_constant_of_three_axes_is_joined_to_what_is_computed() -> None:
    """The class token of a transformer takes the scale of what it is joined with."""
    token = RNG.standard_normal((1, 1, 4)).astype(np.float32)
    tensors = [
        Tensor("x", (1, 6, 4)),
        Tensor("token", (1, 1, 4), data=token),
        Tensor("y", (1, 7, 4)),
    ]
    graph = Graph.of("joined", ["x"], ["y"], [Op("CONCATENATION", ("token", "x"), ("y",), {"axis": 1})], tensors)
    _, db = quantised_answer(graph, [{"x": RNG.standard_normal((1, 6, 4)).astype(np.float32)} for _ in range(8)])
    assert db > 35


def test_the_one_number_that_a_picture_is_padded_with_has_an_axis_of_its_own() -> None:
    """Pads before a maximum pooling hold the lowest value, whose scale is the picture's."""
    amounts = Tensor("amounts", (4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    lowest = Tensor("lowest", (1,), data=np.array([-3.0e38], np.float32))
    tensors = [Tensor("x", (1, 5, 5, 2)), amounts, lowest, Tensor("padded", (1, 7, 7, 2)), Tensor("y", (1, 3, 3, 2))]
    pool = Op("MAX_POOL_2D", ("padded",), ("y",), {"padding": "VALID", "stride_h": 2, "stride_w": 2})
    pool = pool.with_options(filter_height=3, filter_width=3)
    ops = [Op("PADV2", ("x", "amounts", "lowest"), ("padded",)), pool]
    graph = Graph.of("padded", ["x"], ["y"], ops, tensors)
    _, db = quantised_answer(graph, [{"x": RNG.standard_normal((1, 5, 5, 2)).astype(np.float32)} for _ in range(8)])
    assert db > 35


def test_infinite_noise_has_a_finite_ratio() -> None:
    one = [np.ones(3, np.float32)]
    assert sqnr_db(one, [np.array([1, np.inf, 1], np.float32)]) == -SILENT_DB
    assert sqnr_db(one, [np.array([1, np.nan, 1], np.float32)]) == -SILENT_DB


def test_a_softmax_over_what_never_moves_passes_the_check() -> None:
    """Its kernels refuse a scale below 2**-26."""
    tensors = [Tensor("x", (1, 4)), Tensor("none", (1, 4)), Tensor("y", (1, 4))]
    zeros = Tensor("zeros", (4,), data=np.zeros(4, np.float32))
    ops = [Op("MUL", ("x", "zeros"), ("none",)), Op("SOFTMAX", ("none",), ("y",), {"beta": 1.0})]
    graph = Graph.of("still", ["x"], ["y"], ops, [*tensors, zeros])
    int8, db = quantised_answer(graph, [{"x": RNG.standard_normal((1, 4)).astype(np.float32)} for _ in range(8)])
    check_tflite(tapped(int8, ["y"]), "still")
    assert db > 35
