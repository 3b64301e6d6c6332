"""Functions that a model defines itself are written out, within a bound: a few that call each other twice explode."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner

from multigraft.errors import InputError

MOST_NODES = 100_000
"""Nodes after all functions are written out; real networks stay below 20,000."""

_Key = tuple[str, str, str]


def expand_functions(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The same without functions of its own; ``model`` itself if it has none.

    Raises:
        InputError: Written out it would have more than :data:`MOST_NODES` nodes, or a function calls itself.
    """
    if not model.functions:
        return model
    refuse_explosion(model, where)
    expanded: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    return expanded


def refuse_explosion(model: onnx.ModelProto, where: str) -> None:
    """Count the nodes that writing out would make, in time linear in the file.

    Raises:
        InputError: As :func:`expand_functions`.
    """
    bodies = {(f.domain, f.name, f.overload): list(_calls(f.node)) for f in model.functions}
    sorter = graphlib.TopologicalSorter({k: [c for c in calls if c in bodies] for k, calls in bodies.items()})
    try:
        order = list(sorter.static_order())
    except graphlib.CycleError:
        raise InputError(
            f"{where} holds functions that call themselves", "export the network without functions"
        ) from None
    sizes: dict[_Key, int] = {}
    for key in order:
        sizes[key] = min(sum(sizes.get(call, 1) for call in bodies[key]), MOST_NODES + 1)
    total = sum(sizes.get(call, 1) for call in _calls(model.graph.node))
    if total > MOST_NODES:
        raise InputError(
            f"{where} unfolds to more than {MOST_NODES:,} nodes",
            "export the network without functions",
        )


def _calls(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Key]:
    for node in nodes:
        yield (node.domain, node.op_type, node.overload)
        for attribute in node.attribute:
            for graph in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
                yield from _calls(graph.node)
