"""Ranges without the far negative end of what a SiLU (x times its sigmoid) reads, which comes out as nothing.

The convolution before a SiLU may well write -170; every value below :data:`LEAST` becomes 0 to within 0.003. Without
them the rest has finer steps. An error of what only looks at the convolution's own result grows by it.
"""

from __future__ import annotations

from collections.abc import Mapping

from multigraft.converters.quantising.ranges import Range, Ranges
from multigraft.tflite.graph import Graph

LEAST = -8.0
"""A SiLU of less is between -0.0027 and 0."""


def without_idle_ends(graph: Graph, ranges: Mapping[str, Range]) -> Ranges:
    """``ranges`` with what nothing but a SiLU reads from :data:`LEAST` upwards.

    Args:
        graph: Float32.
        ranges: Of its activations.
    """
    cut = dict(ranges)
    for source in read_by_silus(graph):
        if source in cut:
            low, high = cut[source]
            cut[source] = max(low, LEAST), max(high, 0.0)
    return cut


def read_by_silus(graph: Graph) -> frozenset[str]:
    """The tensors that nothing but a SiLU reads, and that are no outputs."""
    found = set()
    for op in graph.ops:
        if op.name != "LOGISTIC" or op.inputs[0] in (*graph.inputs, *graph.outputs):
            continue
        source = op.inputs[0]
        others = [reader for reader in graph.consumers(source) if reader is not op]
        if others and all(o.name == "MUL" and set(o.inputs) == {source, op.outputs[0]} for o in others):
            found.add(source)
    return frozenset(found)
