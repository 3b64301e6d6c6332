"""Leaves out operators whose results onnx2tf knows already, such as the shape that a Squeeze turns its input into.

It writes both, SHAPE and GATHER and what they give for the fixed shapes of a network. A tensor that has a value and is
written as well is damaged to every reader of the file.
"""

from __future__ import annotations

import dataclasses

from multigraft.converters.conversion.rewriting import prune
from multigraft.tflite.graph import Graph


def without_known_results(graph: Graph) -> Graph:
    """``graph`` without operators all of whose outputs have a value, and without what only these read."""
    kept = tuple(
        op for op in graph.ops if not op.outputs or not all(graph.constant(name) is not None for name in op.outputs)
    )
    return graph if len(kept) == len(graph.ops) else prune(dataclasses.replace(graph, ops=kept))
