"""Which tensors are alive between the nodes of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx


def alive_behind(
    nodes: Sequence[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str]
) -> Iterator[tuple[str, ...]]:
    """Of every node what later ones read or the graph answers with, in the order in which it is written.

    Args:
        nodes: In running order.
        inputs: What the first of them can read.
        outputs: What the graph answers with.
    """
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    last |= dict.fromkeys(outputs, len(nodes))
    alive = list(inputs)
    for index, node in enumerate(nodes):
        # An output that is left out has an empty name.
        alive = [name for name in [*alive, *node.output] if name and last.get(name, -1) > index]
        yield tuple(alive)
