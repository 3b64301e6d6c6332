"""The networks of one graph that share no tensor but constants, each as a model of its own."""

from __future__ import annotations

import onnx


def independent_parts(model: onnx.ModelProto) -> list[onnx.ModelProto]:
    """The parts of a model that share no tensor but constants, in the order of its inputs; one where all hang together.

    Args:
        model: Every output is computed, and every part reads an input.
    """
    groups: list[set[str]] = [{i.name} for i in model.graph.input]
    constants = {i.name for i in model.graph.initializer}
    for node in model.graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            return [model]
        names = {name for name in (*node.input, *node.output) if name and name not in constants}
        touched = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names]
        groups.append(names.union(*touched))
    inputs = [i.name for i in model.graph.input]
    with_input = [group for group in groups if not group.isdisjoint(inputs)]
    if len(with_input) != len(groups):
        return [model]
    with_input.sort(key=lambda group: min(inputs.index(name) for name in group if name in inputs))
    return [_part(model, group) for group in with_input]


def _part(model: onnx.ModelProto, group: set[str]) -> onnx.ModelProto:
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    nodes = [node for node in graph.node if not group.isdisjoint(node.output)]
    read = {name for node in nodes for name in node.input}
    for field, kept in (
        (graph.node, nodes),
        (graph.input, [i for i in graph.input if i.name in group]),
        (graph.output, [o for o in graph.output if o.name in group]),
        (graph.value_info, [v for v in graph.value_info if v.name in group]),
        (graph.initializer, [i for i in graph.initializer if i.name in read]),
    ):
        copied = [type(one).FromString(one.SerializeToString()) for one in kept]
        del field[:]
        field.extend(copied)
    return part
