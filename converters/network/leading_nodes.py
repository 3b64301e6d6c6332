"""What tensors of a graph are computed by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import onnx


def leading_nodes(
    nodes: Sequence[onnx.NodeProto], tensors: Iterable[str], ends: Collection[str] = ()
) -> list[onnx.NodeProto]:
    """The nodes that lead to some tensors, in order.

    Args:
        nodes: Of a graph, in an order in which they can run.
        tensors: What is computed.
        ends: Tensors that are taken as given; what leads to them alone is left out.
    """
    # An output or input that is left out has an empty name.
    given = {"", *ends}
    wanted, found = set(tensors) - given, []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(name for name in node.input if name not in given)
    return found[::-1]
