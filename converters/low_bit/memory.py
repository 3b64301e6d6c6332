"""What a network needs in memory, counted: its weights, and what lives at one moment while it runs."""

from __future__ import annotations

from multigraft.tflite.graph import Graph

COPIES = 2
"""Of weights: the file that is mapped, and what XNNPACK packs of it for its kernels."""


def memory_bytes(graph: Graph) -> int:
    """Of weights and values together, bytes; what the interpreter itself takes is not counted."""
    return COPIES * graph.weights_bytes() + values_bytes(graph)


def values_bytes(graph: Graph) -> int:
    """The largest sum of values that live at one moment, in the order of the operators."""
    last = {n: i for i, op in enumerate(graph.ops) for n in op.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.ops))
    sizes = {n: t.stored_bytes for n, t in graph.tensors.items() if t.data is None}
    living = {n: sizes[n] for n in graph.inputs}
    most = sum(living.values())
    for index, op in enumerate(graph.ops):
        living |= {n: sizes[n] for n in op.outputs}
        most = max(most, sum(living.values()))
        living = {n: size for n, size in living.items() if last.get(n, -1) > index}
    return most
