"""Tells tensors that lie within 0 and 1 whatever the network sees: their range need not be measured.

On frames without objects a detector's scores stay near 0. With a scale of their own that was measured there, they
could never rise on the frame that has one.
"""

from __future__ import annotations

from multigraft.converters.quantising.ranges import PASSES_VALUES
from multigraft.tflite.graph import Graph

_ALWAYS = frozenset({"LOGISTIC", "SOFTMAX"})
_OF_ALL = frozenset(
    {"MUL", "MAXIMUM", "MINIMUM", "CONCATENATION", "PACK", "SQRT", "SQUARE", "REDUCE_MAX", "REDUCE_MIN"}
)
"""Within 0 and 1 where all their inputs are."""

_PASSES = (PASSES_VALUES - {"SPLIT"}) | {"REDUCE_MAX", "REDUCE_MIN", "UNPACK"}
_DEEPEST = 32


def is_probability(graph: Graph, tensor: str, depth: int = 0) -> bool:
    """Whether all that ``tensor`` can hold lies within 0 and 1."""
    value, op = graph.constant(tensor), graph.producer(tensor)
    if value is not None:
        return value.dtype == "float32" and bool(((value >= 0) & (value <= 1)).all())
    if op is None or depth == _DEEPEST:
        return False
    if op.name in _ALWAYS:
        return True
    if op.name in _OF_ALL:
        names = op.inputs[:1] if op.name.startswith("REDUCE") else op.inputs
        return all(is_probability(graph, name, depth + 1) for name in names)
    if op.name == "SPLIT":
        return is_probability(graph, op.inputs[1], depth + 1)
    return op.name in _PASSES and is_probability(graph, op.inputs[0], depth + 1)
