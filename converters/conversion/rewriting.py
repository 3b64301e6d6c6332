"""The few steps that every graph rewrite is made of. All return a new graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from multigraft.tflite.graph import Graph, Op, Tensor


def prune(graph: Graph) -> Graph:
    """Without operators that no output needs and tensors that nothing touches."""
    needed = set(graph.outputs)
    kept = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            kept.append(op)
            needed.update(op.inputs)
    ops = tuple(reversed(kept))
    touched = {*graph.inputs, *graph.outputs, *(n for op in ops for n in (*op.inputs, *op.outputs))}
    return dataclasses.replace(graph, ops=ops, tensors={n: t for n, t in graph.tensors.items() if n in touched})


def replace_op(graph: Graph, old: Op, new: Sequence[Op], tensors: Iterable[Tensor] = ()) -> Graph:
    """With ``new`` operators in the place of ``old``, and additional tensors."""
    ops = tuple(n for op in graph.ops for n in (new if op is old else (op,)))
    return dataclasses.replace(graph, ops=ops, tensors={**graph.tensors, **{t.name: t for t in tensors}})


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """With tensors renamed everywhere; the new names must be free and different."""

    def renamed(old: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(n, n) for n in old)

    ops = (dataclasses.replace(op, inputs=renamed(op.inputs), outputs=renamed(op.outputs)) for op in graph.ops)
    tensors = (dataclasses.replace(t, name=names.get(n, n)) for n, t in graph.tensors.items())
    return Graph.of(graph.name, renamed(graph.inputs), renamed(graph.outputs), ops, tensors)


def bypass(graph: Graph, op: Op) -> Graph | None:
    """Without ``op``, whose one output equals its first input.

    Names of graph inputs and outputs stay; None if that is impossible because both are such.
    """
    source, result = op.inputs[0], op.outputs[0]
    rest = dataclasses.replace(graph, ops=tuple(o for o in graph.ops if o is not op))
    if result not in graph.outputs:
        return prune(_read_instead(rest, {result: source}))
    if source in graph.inputs or source in graph.outputs or graph.constant(source) is not None:
        return None
    tensors = {n: t for n, t in rest.tensors.items() if n != result}
    return prune(rename(dataclasses.replace(rest, tensors=tensors), {source: result}))


def _read_instead(graph: Graph, names: Mapping[str, str]) -> Graph:
    ops = tuple(dataclasses.replace(o, inputs=tuple(names.get(n, n) for n in o.inputs)) for o in graph.ops)
    return dataclasses.replace(graph, ops=ops)


def only_reader(graph: Graph, tensor: str) -> Op | None:
    """The one operator that reads ``tensor``; None if there are several or it leaves the graph."""
    readers = graph.consumers(tensor)
    return readers[0] if len(readers) == 1 and tensor not in graph.outputs else None


def free_name(graph: Graph, wish: str) -> str:
    """``wish``, or with a number behind it if a tensor has that name."""
    name, number = wish, 1
    while name in graph.tensors:
        name, number = f"{wish}.{number}", number + 1
    return name


def int32(name: str, values: Iterable[int]) -> Tensor:
    """A constant vector, such as a permutation or a shape."""
    data = np.array(list(values), np.int32)
    return Tensor(name, data.shape, "int32", data=data)
