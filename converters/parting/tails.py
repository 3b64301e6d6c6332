"""Takes sums and products with constants above a join: ``join(a, b) * c`` is ``join(a * c1, b * c2)``.

Detectors multiply what they have joined by strides or by the size of the picture. Above the join the boxes keep that
to themselves, and scores that are multiplied by 1 lose it. The results are the same to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

import numpy as np

from multigraft.converters.conversion.rewriting import free_name, prune, replace_op
from multigraft.converters.parting.axes import axis_before
from multigraft.converters.parting.joins import concatenates, join_of, moves
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import Reshape, Transpose
from multigraft.tflite.graph import Graph, Op, Tensor

AreAlike = Callable[[Graph, Collection[str]], bool]

MOST_ALIKE = 4.0
"""Parts whose ranges differ by less keep one scale: the narrowest loses two bits at most."""

_NEUTRAL = {"MUL": 1.0, "DIV": 1.0, "ADD": 0.0, "SUB": 0.0}
"""What the second input is where the result is the first."""

_MOST = 256
"""Operators that are taken above a join at most."""


def tails_above_joins(graph: Graph, output: str, ends: Collection[str], are_alike: AreAlike) -> Graph:
    """``graph`` with the operators before ``output`` above the joins that they read.

    Args:
        graph: Float32.
        output: One of its outputs.
        ends: Tensors, such as cuts, behind which nothing is looked at.
        are_alike: Whether one scale serves all of some tensors. What is joined of such, and multiplied by much the same
            or raised by the same, stays.
    """
    for _ in range(_MOST):
        changed = _first_raised(graph, output, ends, are_alike)
        if changed is None:
            return graph
        graph = changed
    return graph


def _first_raised(graph: Graph, output: str, ends: Collection[str], are_alike: AreAlike) -> Graph | None:
    waiting, seen = [output], set(ends)
    while waiting:
        name = waiting.pop()
        op = graph.producer(name)
        if op is None or name in seen:
            continue
        seen.add(name)
        if moves(graph, op) is not None:
            waiting.append(op.inputs[0])
        elif concatenates(graph, op) is not None:
            waiting += op.inputs
        elif (place := _place_of_constant(graph, op)) is not None:
            source = op.inputs[1 - place]
            join = join_of(graph, source, ends)
            is_needed = join.step is not None and not (_is_even(graph, op, place) and are_alike(graph, join.leaves))
            if is_needed and (changed := _raised(graph, op, place)) is not None:
                return changed
            waiting.append(source)
    return None


def _is_even(graph: Graph, op: Op, place: int) -> bool:
    """Whether a constant does to alike values what leaves them alike."""
    value = graph.constant(op.inputs[place])
    if value is None or not value.size:
        return False
    if op.name in ("ADD", "SUB"):
        return bool(value.max() == value.min())
    sizes = np.abs(value[value != 0])
    return not sizes.size or bool(sizes.max() <= MOST_ALIKE * sizes.min())


def _place_of_constant(graph: Graph, op: Op) -> int | None:
    """Which input of an operator on two is a constant that is spread over the other."""
    if op.name not in _NEUTRAL or len(op.inputs) != 2:
        return None
    constants = [graph.constant(name) is not None for name in op.inputs]
    shape, rank = graph.tensors[op.outputs[0]].shape, len(graph.tensors[op.outputs[0]].shape)
    if sum(constants) != 1 or graph.tensors[op.outputs[0]].dtype != "float32":
        return None
    place = constants.index(True)
    is_spread = graph.tensors[op.inputs[1 - place]].shape == shape
    return place if is_spread and len(graph.tensors[op.inputs[place]].shape) <= rank else None


def _raised(graph: Graph, op: Op, place: int) -> Graph | None:
    """With ``op`` above what writes the input that is no constant."""
    name, value = op.inputs[1 - place], graph.constant(op.inputs[place])
    writer = graph.producer(name)
    if writer is None or value is None:
        return None
    value = value.reshape((1,) * (len(graph.tensors[name].shape) - value.ndim) + value.shape)
    axis, moved = concatenates(graph, writer), moves(graph, writer)
    if axis is not None and writer.name == "CONCATENATION":
        sizes = [graph.tensors[part].shape[axis] for part in writer.inputs]
        values = np.split(value, np.cumsum(sizes)[:-1], axis) if value.shape[axis] > 1 else [value] * len(sizes)
        return _replaced(graph, op, place, writer, values)
    if moved is not None:
        before = _before(moved, graph.tensors[writer.inputs[0]].shape, value)
        return None if before is None else _replaced(graph, op, place, writer, [before])
    return None


def _replaced(graph: Graph, op: Op, place: int, writer: Op, values: Sequence[Array]) -> Graph:
    """``writer`` writes what ``op`` wrote, of its own inputs each after ``op`` with one of ``values``."""
    sources, ops, tensors = [], [], []
    is_plain = op.options.get("fused_activation_function", "NONE") in ("NONE", None)
    names = graph
    for part, value in zip(writer.inputs, values, strict=False):
        is_first = place == 1 or op.name in ("MUL", "ADD")
        if is_plain and is_first and (value == _NEUTRAL[op.name]).all():
            sources.append(part)
            continue
        result = Tensor(free_name(names, f"{op.outputs[0]}/part"), graph.tensors[part].shape)
        constant = Tensor(free_name(names, f"{result.name}/constant"), value.shape, data=np.ascontiguousarray(value))
        names = dataclasses.replace(names, tensors={**names.tensors, result.name: result, constant.name: constant})
        inputs = (part, constant.name) if place == 1 else (constant.name, part)
        ops.append(dataclasses.replace(op, inputs=inputs, outputs=(result.name,)))
        tensors += [result, constant]
        sources.append(result.name)
    rest = writer.inputs[len(values) :]
    ops.append(dataclasses.replace(writer, inputs=(*sources, *rest), outputs=op.outputs))
    return prune(replace_op(graph, op, ops, tensors))


def _before(moved: Reshape | Transpose, source: tuple[int, ...], value: Array) -> Array | None:
    """The constant as it is spread over what is moved; None if it would have to be written out."""
    shape = [1] * len(source)
    places = []
    for axis, size in enumerate(value.shape):
        if size == 1:
            continue
        before = axis_before(moved, source, axis)
        if before is None:
            return None
        shape[before] = size
        places.append(before)
    spread = value.reshape([size for size in value.shape if size > 1])
    return spread.transpose(np.argsort(places)).reshape(shape)
