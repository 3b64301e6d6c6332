"""Slices and factors above joins compute the same to the last bit, and joins that are undone are gone."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.parting.joins import join_of, thinned
from multigraft.converters.parting.probabilities import is_probability
from multigraft.converters.parting.slices import slices_above_joins
from multigraft.converters.parting.tails import tails_above_joins
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, run


def never_alike(_: Graph, leaves: Collection[str]) -> bool:
    return not leaves


class Joins(GraphBuilder):
    """Adds what joins are made of and followed by."""

    def shape(self, x: str) -> tuple[int, ...]:
        return self.tensors[x].shape

    def leaf(self, *shape: int) -> str:
        name = f"leaf{len(self.inputs)}"
        return self.op("ABS", name, [self.input(f"{name}/given", *shape)], shape)

    def concat(self, name: str, axis: int, *parts: str) -> str:
        first = self.shape(parts[0])
        shape = (*first[:axis], sum(self.shape(p)[axis] for p in parts), *first[axis + 1 :])
        return self.op("CONCATENATION", name, list(parts), shape, axis=axis, fused_activation_function="NONE")

    def slice(self, name: str, x: str, axis: int, begin: int, end: int, kind: str = "SLICE") -> str:
        old = self.shape(x)
        shape = (*old[:axis], end - begin, *old[axis + 1 :])
        starts = [begin if i == axis else 0 for i in range(len(old))]
        first = self.constant(f"{name}/begin", starts, "int32")
        if kind == "SLICE":
            sizes = [end - begin if i == axis else -1 for i in range(len(old))]
            return self.op("SLICE", name, [x, first, self.constant(f"{name}/size", sizes, "int32")], shape)
        ends = [end if i == axis else n for i, n in enumerate(old)]
        more = [self.constant(f"{name}/end", ends, "int32"), self.constant(f"{name}/steps", [1] * len(old), "int32")]
        mask = sum(1 << i for i in range(len(old)) if i != axis)
        return self.op("STRIDED_SLICE", name, [x, first, *more], shape, begin_mask=mask, end_mask=0)

    def binary(self, name: str, kind: str, x: str, value: object, is_first: bool = False) -> str:
        other = self.constant(f"{name}/other", value)  # type: ignore[arg-type]
        inputs = [other, x] if is_first else [x, other]
        return self.op(kind, name, inputs, self.shape(x), fused_activation_function="NONE")

    def values(self) -> Arrays:
        return {n: self.rng.uniform(0.5, 2, self.shape(n)).astype(np.float32) for n in self.inputs}


@st.composite
def joined(draw: st.DrawFn) -> Joins:
    """Leaves under joins and moves, then what follows; ``out`` is the output."""
    b = Joins(draw(st.integers(0, 9)))
    side, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    leaves = [b.leaf(1, side, 2, draw(st.integers(1, 3))) for _ in range(draw(st.integers(2, 3)))]
    x = b.concat("join", 3, *leaves)
    for number in range(depth + 3):
        shape, name = b.shape(x), f"step{number}"
        kind = draw(st.sampled_from(["transpose", "reshape", "slice", "concat", "factor", "factor"]))
        axis = draw(st.integers(1, len(shape) - 1))
        if kind == "transpose":
            x = b.transpose(name, x, 0, *draw(st.permutations(range(1, len(shape)))))
        elif kind == "reshape" and len(shape) > 2:
            x = b.reshape(name, x, *shape[: axis - 1], math.prod(shape[axis - 1 : axis + 1]), *shape[axis + 1 :])
        elif kind == "slice" and shape[axis] > 1:
            begin = draw(st.integers(0, shape[axis] - 1))
            end = draw(st.integers(begin + 1, shape[axis]))
            x = b.slice(name, x, axis, begin, end, draw(st.sampled_from(["SLICE", "STRIDED_SLICE"])))
        elif kind == "concat":
            x = b.concat(name, axis, x, b.leaf(*shape[:axis], draw(st.integers(1, 2)), *shape[axis + 1 :]))
        elif kind == "factor":
            sizes = [draw(st.sampled_from([1, n])) for n in shape[draw(st.integers(0, len(shape) - 1)) :]]
            value = draw(st.sampled_from([np.ones(sizes), np.arange(1, math.prod(sizes) + 1).reshape(sizes)]))
            x = b.binary(name, draw(st.sampled_from(["MUL", "ADD", "SUB", "DIV"])), x, value, draw(st.booleans()))
    if x == "join":
        x = b.transpose("last", x, 0, 2, 1, 3)
    return b


@settings(max_examples=150, deadline=None)
@given(joined())
def test_whatever_follows_a_join_computes_the_same_above_it(b: Joins) -> None:
    (output,) = b.ops[-1].outputs
    graph = b.graph(output)
    changed = slices_above_joins(tails_above_joins(graph, output, (), never_alike), output, ())
    assert changed.outputs == graph.outputs and changed.inputs == graph.inputs
    values = b.values()
    assert np.array_equal(run(changed, values)[output], run(graph, values)[output])
    leaves = list(dict.fromkeys((join := join_of(changed, output, ())).leaves))
    parts = {
        n: run(Graph.of("parts", changed.inputs, [n], changed.ops, changed.tensors.values()), values)[n] for n in leaves
    }
    whole = join.joined(output, {n: n for n in leaves})
    assert np.array_equal(whole(parts), run(graph, values)[output])


def kinds(graph: Graph) -> list[str]:
    return sorted(op.name for op in graph.ops)


@pytest.mark.parametrize("kind", ["SLICE", "STRIDED_SLICE"])
def test_a_join_that_slices_undo_is_gone(kind: str) -> None:
    b = Joins()
    boxes, scores = b.leaf(1, 2, 2, 4), b.leaf(1, 2, 2, 3)
    flat = b.reshape("flat", b.transpose("first", b.concat("join", 3, boxes, scores), 0, 3, 1, 2), 1, 7, 4)
    far = b.reshape("far", b.leaf(1, 7, 1, 1), 1, 7, 1)
    both = b.concat("both", 2, flat, far)
    b.op("NEG", "out", [b.slice("scores", both, 1, 4, 7, kind)], (1, 3, 5))
    graph = b.graph("out")
    changed = slices_above_joins(graph, "out", ())
    # The far leaf joins boxes and scores itself, so that there the slice has to stay.
    assert changed is graph
    near = b.op("NEG", "near_out", [b.slice("near", flat, 1, 4, 7, kind)], (1, 3, 4))
    graph = b.graph(near)
    changed = slices_above_joins(graph, near, ())
    assert kinds(changed) == ["ABS", "NEG", "RESHAPE", "TRANSPOSE"] and scores in changed.tensors
    assert changed.tensors and boxes not in changed.tensors
    values = b.values()
    assert np.array_equal(run(changed, values)[near], run(graph, values)[near])


def test_a_slice_across_a_part_stays() -> None:
    b = Joins()
    both = b.concat("join", 1, b.leaf(1, 4, 5), b.leaf(1, 3, 5))
    graph = b.graph(b.slice("out", both, 1, 3, 6))
    assert slices_above_joins(graph, "out", ()) is graph


def test_nothing_is_looked_at_behind_a_cut() -> None:
    b = Joins()
    both = b.concat("join", 1, b.leaf(1, 4, 5), b.leaf(1, 3, 5))
    graph = b.graph(b.binary("out", "MUL", b.slice("part", both, 1, 4, 7), 2.0))
    assert slices_above_joins(graph, "out", {"join"}) is graph
    graph = b.graph(b.binary("whole", "MUL", both, np.arange(7).reshape(1, 7, 1)))
    assert tails_above_joins(graph, "whole", {"join"}, never_alike) is graph
    assert join_of(graph, "join", {"join"}).step is None


def test_a_factor_of_one_leaves_scores_as_they_were() -> None:
    b = Joins()
    boxes, scores = b.leaf(1, 4, 5), b.leaf(1, 3, 5)
    factors = np.array([640.0] * 4 + [1.0] * 3).reshape(1, 7, 1)
    graph = b.graph(b.binary("out", "MUL", b.concat("join", 1, boxes, scores), factors))
    changed = tails_above_joins(graph, "out", (), never_alike)
    join = join_of(changed, "out", ())
    assert len(join.leaves) == 2 and join.leaves[1] == scores and kinds(changed).count("MUL") == 1


def test_alike_values_that_are_multiplied_by_the_same_stay_joined() -> None:
    b = Joins()
    both = b.concat("join", 1, b.leaf(1, 4, 5), b.leaf(1, 3, 5))
    graph = b.graph(b.binary("out", "MUL", both, np.full((1, 7, 5), 8.0)))
    assert tails_above_joins(graph, "out", (), lambda *_: True) is graph
    assert tails_above_joins(graph, "out", (), never_alike) is not graph
    uneven = b.graph(b.binary("uneven", "MUL", both, np.arange(1.0, 8).reshape(1, 7, 1)))
    assert tails_above_joins(uneven, "uneven", (), lambda *_: True) is not uneven


def test_only_unlike_parts_are_taken_apart() -> None:
    b = Joins()
    xy, wh, scores = b.leaf(1, 2, 5), b.leaf(1, 2, 5), b.leaf(1, 3, 5)
    boxes = b.concat("boxes", 1, xy, wh)
    graph = b.graph(b.reshape("out", b.concat("join", 1, boxes, scores), 1, 5, 7))
    join = thinned(join_of(graph, "out", ()), lambda leaves: scores not in leaves)
    assert join.leaves == ("boxes", scores) and join.tensor == "out"
    assert thinned(join_of(graph, "out", ()), lambda _: True).leaves == ("out",)


def test_packed_tensors_are_parts_with_another_shape() -> None:
    b = Joins()
    graph = b.graph(b.op("PACK", "out", [b.leaf(1, 3), b.leaf(1, 3)], (1, 2, 3), axis=1, values_count=2))
    join = thinned(join_of(graph, "out", ()), lambda leaves: len(leaves) < 2)
    parts = {name: np.full((1, 3), i, np.float32) for i, name in enumerate(join.leaves)}
    joined_to = join.joined("out", {n: n for n in join.leaves})
    assert joined_to(parts).tolist() == [[[0, 0, 0], [1, 1, 1]]]
    assert joined_to.shape(dict.fromkeys(parts, (1, 3))) == (1, 2, 3)


def test_joins_with_constants_and_whole_numbers_stay() -> None:
    b = Joins()
    both = b.concat("join", 1, b.leaf(1, 4), b.constant("anchors", np.ones((1, 2))))
    with_input = b.concat("more", 1, both, b.input("given", 1, 2))
    assert join_of(b.graph(both), both, ()).step is None
    assert join_of(b.graph(with_input), with_input, ()).step is None


def test_scores_are_known_for_probabilities_whatever_makes_them() -> None:
    b = Joins()
    x = b.leaf(1, 4, 4)
    b.op("LOGISTIC", "seen", [x], (1, 4, 4))
    b.op("SOFTMAX", "classes", [x], (1, 4, 4), beta=1)
    b.op("MUL", "both", ["seen", "classes"], (1, 4, 4))
    b.op("SQRT", "root", ["both"], (1, 4, 4))
    b.reshape("moved", b.concat("joined", 1, "root", "seen"), 1, 32)
    b.binary("twice", "MUL", "both", 2.0)
    b.binary("half", "MUL", "both", 0.5)
    b.op("MUL", "unsure", ["seen", x], (1, 4, 4))
    graph = b.graph("moved", "twice", "half", "unsure")
    assert [n for n in graph.tensors if graph.producer(n) and is_probability(graph, n)] == [
        "seen", "classes", "both", "root", "joined", "moved", "half",
    ]  # fmt: skip
