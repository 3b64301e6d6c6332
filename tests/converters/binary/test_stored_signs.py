"""Weights of -a and a as one byte each: every interpreter gives the very bits that float weights give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multigraft.converters.binary.stored_signs import LEAST_WEIGHTS, with_stored_signs
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, Signature, Tensor
from multigraft.tflite.tflite_file import write
from tests.runtime.conftest import BACKENDS

RNG = np.random.default_rng(4)
SIGNS = RNG.choice([-1, 1], (16, 3, 3, 32)).astype(np.float32)
SIZES = RNG.uniform(0.2, 2, (16, 1, 1, 1)).astype(np.float32)


def network(weights: Array) -> Graph:
    """A convolution on signs."""
    shape = (1, 6, 6, weights.shape[-1])
    tensors = [
        *(Tensor(name, shape) for name in ("x", "s", "t", "u")),
        Tensor("half", (), data=np.array(0.5, np.float32)),
        Tensor("w", weights.shape, data=weights),
        Tensor("b", (len(weights),), data=np.zeros(len(weights), np.float32)),
        Tensor("y", (1, 6, 6, len(weights))),
    ]
    ops = [
        Op("SIGN", ("x",), ("s",)),
        Op("ADD", ("s", "half"), ("t",)),
        Op("SIGN", ("t",), ("u",)),
        Op("CONV_2D", ("u", "w", "b"), ("y",), {"stride_w": 1, "stride_h": 1, "padding": "SAME"}),
    ]
    return Graph.of("main", ["x"], ["y"], ops, tensors)


def file(graph: Graph) -> bytes:
    return write(Model((graph,), (Signature("serve", {"x": "x"}, {"y": "y"}),)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [np.ones_like(SIZES), SIZES], ids=["one", "each channel"])
def test_the_answers_are_the_same_to_the_bit(sizes: Array, backend: str) -> None:
    graph = network(SIGNS * sizes)
    changed = with_stored_signs(graph)
    assert len(file(graph)) - len(file(changed)) > 2.5 * SIGNS.size
    x = np.random.default_rng(1).normal(size=(1, 6, 6, 32)).astype(np.float32)
    given, wanted = (
        TfliteModel(file(g), backend).subgraph("serve", {"x": x}).outputs["y"].copy()  # type: ignore[arg-type]
        for g in (changed, graph)
    )
    np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize(
    "weights",
    [
        np.where(np.arange(SIGNS.size).reshape(SIGNS.shape) == 7, np.nextafter(SIGNS, np.float32(0)), SIGNS),
        SIGNS * (np.arange(16) > 0).astype(np.float32).reshape(-1, 1, 1, 1),
        SIGNS[:1, :, :, : LEAST_WEIGHTS // 10],
        RNG.normal(size=SIGNS.shape).astype(np.float32),
    ],
    ids=["rounded", "a channel of 0", "few", "others"],
)
def test_what_would_change_or_gain_nothing_stays(weights: Array) -> None:
    graph = network(weights)
    assert with_stored_signs(graph).ops == graph.ops


def test_what_reads_no_signs_stays() -> None:
    graph = network(SIGNS)
    other = dataclasses.replace(
        graph, ops=tuple(dataclasses.replace(op, name="ABS") if op.name == "SIGN" else op for op in graph.ops)
    )
    assert with_stored_signs(other).ops == other.ops
