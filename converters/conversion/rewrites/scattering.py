"""ScatterND and ScatterElements that add, multiply, or take the larger or smaller, at constant indices.

TFLite only overwrites. So what lies there is gathered first; indices that come several times go in rounds.
"""

from __future__ import annotations

import math

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

ROUNDS = 64
"""Indices that come more often stay, and are refused."""

_OPERATORS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def reduce_at(writer: Writer) -> bool:
    """ScatterND with a reduction gathers, computes and overwrites."""
    data, indices, updates = writer.node.input
    operator = _OPERATORS.get(attributes(writer.node).get("reduction", "none"))
    shape, places = writer.editor.shape(data), writer.editor.constant(indices)
    if operator is None or shape is None or places is None:
        return False
    depth = places.shape[-1]
    places = places.reshape(-1, depth)
    places = np.where(places < 0, places + np.array(shape[:depth]), places)
    seen: dict[tuple[int, ...], int] = {}
    round_of = []
    for place in map(tuple, places.tolist()):
        round_of.append(seen.get(place, 0))
        seen[place] = round_of[-1] + 1
    rounds = max(round_of, default=0) + 1
    if rounds > ROUNDS or not len(places):
        return False
    flat = writer("Reshape", updates, writer.ints("rows", [len(places), *shape[depth:]]))
    result = data
    for number in range(rounds):
        chosen = np.flatnonzero(np.array(round_of) == number)
        at = writer.constant("at", places[chosen], np.int64)
        values = flat if rounds == 1 else writer("Gather", flat, writer.ints("chosen", chosen), axis=0)
        new = writer(operator, writer("GatherND", result, at), values)
        result = writer("ScatterND", result, at, new, to=writer.node.output[0] if number == rounds - 1 else "")
    return True


def elements(writer: Writer) -> bool:
    """ScatterElements with a reduction is ScatterND of single elements."""
    given = attributes(writer.node)
    shape, indices = writer.editor.shape(writer.node.input[0]), writer.editor.constant(writer.node.input[1])
    if given.get("reduction", "none") not in _OPERATORS or shape is None or indices is None:
        return False
    axis = given.get("axis", 0) % len(shape)
    places = np.indices(indices.shape)
    places[axis] = np.where(indices < 0, indices + shape[axis], indices)
    at = writer.constant("places", places.reshape(len(shape), -1).T, np.int64)
    updates = writer("Reshape", writer.node.input[2], writer.ints("flat", [math.prod(indices.shape)]))
    data, (result,) = writer.node.input[0], writer.node.output
    writer("ScatterND", data, at, updates, to=result, reduction=given["reduction"])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"ScatterND": (reduce_at,), "ScatterElements": (elements,)}
