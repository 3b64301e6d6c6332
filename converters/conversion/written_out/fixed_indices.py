"""Scatters, gathers of elements and reversed sequences by constant indices: one gather of a flat tensor.

Where the indices are known, so is where every element of the result comes from.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_NEUTRAL = {"add": 0.0, "mul": 1.0, "max": float(np.finfo(np.float32).min), "min": float(np.finfo(np.float32).max)}
_COMBINES = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
_LARGEST = 1 << 20
"""Elements of a map of indices that is still stored."""


def scatter(writer: Writer) -> bool:
    """A scatter gathers from the data with the updates behind; one that reduces, from the updates alone."""
    node, given = writer.node, attributes(writer.node)
    indices, shape = writer.editor.constant(node.input[1]), writer.editor.shape(node.input[0])
    updates = writer.editor.shape(node.input[2])
    reduction = given.get("reduction", "none")
    is_float = writer.editor.dtype(node.input[0]) == 1
    if indices is None or not shape or updates is None or not indices.size or not is_float:
        return False
    if math.prod(shape) > _LARGEST or reduction not in ("none", *_NEUTRAL):
        return False
    places = _rows(indices, shape) if node.op_type == "ScatterND" else _elements(indices, shape, given.get("axis", 0))
    size, count = math.prod(shape), len(places)
    data = writer("Reshape", node.input[0], writer.ints("flat", [size]))
    new = writer("Reshape", node.input[2], writer.ints("flat", [count]))
    if reduction == "none":
        source = np.arange(size)
        source[places] = size + np.arange(count)  # of several to one place, the last
        joined = writer("Concat", data, new, axis=0)
        flat = writer("Gather", joined, writer.ints("source", source), axis=0)
    else:
        neutral = writer.constant("neutral", [_NEUTRAL[reduction]])
        joined = writer("Concat", neutral, new, axis=0)
        flat = data
        for chosen in _rounds(places):
            source = np.zeros(size, np.int64)
            source[places[chosen]] = 1 + chosen
            part = writer("Gather", joined, writer.ints("source", source), axis=0)
            flat = writer(_COMBINES[reduction], flat, part)
    writer("Reshape", flat, writer.ints("shape", shape), to=node.output[0])
    return True


def _rows(indices: Array, shape: tuple[int, ...]) -> Array:
    """Flat places that ScatterND writes or GatherND reads, in their order."""
    depth = indices.shape[-1]
    sizes = np.array(shape[:depth], np.int64)
    rows = np.where(indices < 0, indices + sizes, indices).reshape(-1, depth).astype(np.int64)
    inner = math.prod(shape[depth:])
    first = np.zeros(len(rows), np.int64)
    for column, size in zip(rows.T, sizes, strict=True):
        first = first * size + column
    places: Array = (first[:, None] * inner + np.arange(inner)).reshape(-1)
    return places


def _elements(indices: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Likewise for ScatterElements and GatherElements."""
    grid = list(np.indices(indices.shape))
    grid[axis] = np.where(indices < 0, indices + shape[axis], indices)
    places: Array = np.ravel_multi_index(tuple(g.astype(np.int64) for g in grid), shape).reshape(-1)
    return places


def _rounds(places: Array) -> list[Array]:
    """Numbers of updates, so that no place has two in one round."""
    rounds: list[list[int]] = []
    seen: dict[int, int] = {}
    for number, place in enumerate(places):
        turn = seen.get(int(place), 0)
        seen[int(place)] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(number)
    return [np.array(r, np.int64) for r in rounds]


def gather(writer: Writer) -> bool:
    """GatherElements and GatherND read single elements, or rows, of a flat tensor."""
    node, given = writer.node, attributes(writer.node)
    indices, shape = writer.editor.constant(node.input[1]), writer.editor.shape(node.input[0])
    result = writer.editor.shape(node.output[0])
    if indices is None or not shape or not result or not indices.size or given.get("batch_dims", 0):
        return False
    if node.op_type == "GatherND":
        depth = indices.shape[-1]
        rows = _rows(indices, shape[:depth])
        inner = math.prod(shape[depth:])
        flat = writer("Reshape", node.input[0], writer.ints("rows", [math.prod(shape[:depth]), inner]))
    else:
        rows = _elements(indices, shape, given.get("axis", 0))
        flat = writer("Reshape", node.input[0], writer.ints("flat", [math.prod(shape)]))
    taken = writer("Gather", flat, writer.ints("places", rows), axis=0)
    writer("Reshape", taken, writer.ints("shape", result), to=node.output[0])
    return True


def reverse_sequence(writer: Writer) -> bool:
    """ReverseSequence with constant lengths gathers along time, or from the flat tensor where lengths differ."""
    node, given = writer.node, attributes(writer.node)
    lengths, shape = writer.editor.constant(node.input[1]), writer.editor.shape(node.input[0])
    if lengths is None or shape is None or math.prod(shape) > _LARGEST:
        return False
    batch, time = given.get("batch_axis", 1), given.get("time_axis", 0)
    if {batch, time} != {0, 1} or len(shape) < 2:  # ONNX allows no other axes
        return False
    if len(set(lengths.tolist())) == 1:
        order = np.arange(shape[time])
        order[: lengths[0]] = order[: lengths[0]][::-1]
        writer("Gather", node.input[0], writer.ints("order", order), axis=time, to=node.output[0])
        return True
    grid = list(np.indices(shape))
    ends = lengths[grid[batch]]
    grid[time] = np.where(grid[time] < ends, ends - 1 - grid[time], grid[time])
    places = np.ravel_multi_index(tuple(grid), shape).reshape(-1)
    flat = writer("Reshape", node.input[0], writer.ints("flat", [math.prod(shape)]))
    taken = writer("Gather", flat, writer.ints("places", places), axis=0)
    writer("Reshape", taken, writer.ints("shape", shape), to=node.output[0])
    return True


def one_hot(writer: Writer) -> bool:
    """OneHot compares with every class and chooses between the two values."""
    node, given = writer.node, attributes(writer.node)
    depth, values = (writer.editor.constant(n) for n in node.input[1:3])
    shape, kind = writer.editor.shape(node.input[0]), writer.editor.dtype(node.input[0])
    if depth is None or values is None or shape is None or values.dtype != np.float32 or kind not in (6, 7):
        return False
    count, rank = int(depth.reshape(-1)[0]), len(shape) + 1
    axis = given.get("axis", -1) % rank
    index = writer.cast(node.input[0], TensorProto.FLOAT)
    index = writer("Reshape", index, writer.ints("column", [*shape[:axis], 1, *shape[axis:]]))
    classes = np.arange(count).reshape(-1, *(1,) * (rank - 1 - axis))
    hit = writer("Equal", index, writer.constant("classes", classes))
    missed = writer("Equal", index, writer.constant("classes", classes - count))
    is_on = writer.cast(writer("Or", hit, missed), TensorProto.FLOAT)
    off, on = (float(v) for v in values)
    if (off, on) == (0.0, 1.0):
        writer("Identity", is_on, to=node.output[0])
    else:
        scaled = writer("Mul", is_on, writer.constant("step", on - off))
        writer("Add", scaled, writer.constant("off", off), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), (scatter,)),
    **dict.fromkeys(("GatherElements", "GatherND"), (gather,)),
    "ReverseSequence": (reverse_sequence,),
    "OneHot": (one_hot,),
}
