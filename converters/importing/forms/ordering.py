"""Nodes in an order in which they can run, which ONNX demands and some exporters do not keep."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator

import onnx

from multigraft.errors import InputError


def sort_nodes(graph: onnx.GraphProto, where: str) -> bool:
    """Put every node behind those whose outputs it reads, in place; nodes that are in order already stay so.

    Returns:
        Whether anything had to move.

    Raises:
        InputError: Nodes read each other in a circle.
    """
    writers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = {index: {writers[n] for n in reads(node) if n in writers} for index, node in enumerate(graph.node)}
    if all(other < index for index, others in needs.items() for other in others):
        return False
    sorter = graphlib.TopologicalSorter(needs)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        node = graph.node[error.args[1][0]]
        raise InputError(
            f"{where}: node {node.name or node.output[0]!r} reads what it writes itself, through others",
            "export the network again",
        ) from None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    set_nodes(graph, [graph.node[index] for index in order])
    return True


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let the graph have these nodes, some of which may be its own, in this order."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names of all tensors that a node reads, in its branches, too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
            for inner in graph.node:
                yield from reads(inner)
            yield from (o.name for o in graph.output)
