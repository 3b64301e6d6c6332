"""Binary operators in stock ones compute the same numbers, on every interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.binary.stock_operators import in_stock_operators
from multigraft.converters.conversion.interpreters import MAIN, Runner, available, tapped
from multigraft.tflite.graph import Graph, Op, Tensor
from multigraft.tflite.operators import BINARY
from multigraft.tflite.tflite_file import read
from tests.runtime.delegate.binary_cases import answer_of, drawn, inputs_of, model_of


@pytest.mark.parametrize("backend", available())
def test_networks_drawn_at_random_answer_the_same(backend: str) -> None:
    kinds = set()
    for number in range(40):
        rng = np.random.default_rng(number)
        case = drawn(rng)
        graph = in_stock_operators(read(model_of(case)).main)
        if graph is None:
            continue
        assert not any(op.custom_code in BINARY for op in graph.ops)
        x = inputs_of(case, rng)
        (answer,) = Runner(tapped(graph, graph.outputs), backend)({"x": x}, MAIN).values()
        wanted = answer_of(case, x)
        kinds.add((case.source, wanted.dtype.name))
        off = np.abs(answer.astype(np.float64) - wanted.astype(np.float64)).max()
        # int8 is rounded from float32, by some kernels to even.
        assert off <= (1 if wanted.dtype == np.int8 else 1e-5 * max(1.0, np.abs(wanted).max())), (number, case)
    assert {("int8", "int8"), ("float32", "float32")} <= kinds


def test_words_that_another_operator_moves_stay_words() -> None:
    shape = Tensor("shape", (4,), "int32", data=np.array([1, 2, 8, 1], np.int32))
    tensors = [Tensor("x", (1, 4, 4, 32), "float32"), Tensor("words", (1, 4, 4, 1), "int32"), shape]
    tensors += [Tensor("moved", (1, 2, 8, 1), "int32"), Tensor("y", (1, 2, 8, 32), "float32")]
    ops = [
        Op("CUSTOM", ("x",), ("words",), custom_code="LceQuantize"),
        Op("RESHAPE", ("words", "shape"), ("moved",), {"new_shape": (1, 2, 8, 1)}),
        Op("CUSTOM", ("moved",), ("y",), custom_code="LceDequantize"),
    ]
    assert in_stock_operators(Graph.of("main", ["x"], ["y"], ops, tensors)) is None
