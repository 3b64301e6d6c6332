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


def part_of(model: onnx.ModelProto, source: str, names: Sequence[str]) -> onnx.ModelProto:
    """A model of what some tensors are computed by, with them as outputs.

    Args:
        model: Of one network or several; none of its nodes holds a graph.
        source: The input to keep: other networks of the graph have inputs of their own.
        names: The tensors.
    """
    nodes = leading_nodes(model.graph.node, names)
    read = {name for node in nodes for name in node.input}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for kept, those in (
        (graph.node, nodes),
        (graph.input, [i for i in model.graph.input if i.name == source]),
        (graph.initializer, [i for i in model.graph.initializer if i.name in read]),
        (graph.output, [onnx.ValueInfoProto(name=name) for name in names]),
    ):
        del kept[:]
        kept.extend(those)
    return part
