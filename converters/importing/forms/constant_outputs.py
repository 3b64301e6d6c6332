"""Outputs that are the same for every frame, such as a detector's anchors: no graph has to compute them."""

from __future__ import annotations

import onnx

from multigraft.converters.importing.forms.inputs import fed_inputs
from multigraft.converters.importing.forms.ordering import reads
from multigraft.errors import InputError


def constant_outputs(graph: onnx.GraphProto) -> list[str]:
    """Outputs that no path leads to from the input; nodes have to be in order and constants folded."""
    depends = {i.name for i in fed_inputs(graph)}
    for node in graph.node:
        if not depends.isdisjoint(reads(node)):
            depends.update(node.output)
    return [o.name for o in graph.output if o.name not in depends]


def leave_out_constant_outputs(model: onnx.ModelProto) -> None:
    """Take them off the graph with the nodes that write them, in place.

    Raises:
        InputError: Nothing is left.
    """
    names = set(constant_outputs(model.graph))
    if not names:
        return
    kept = [o for o in model.graph.output if o.name not in names]
    if not kept:
        raise InputError("no output depends on the input", "export the network with its input connected")
    del model.graph.output[:]
    model.graph.output.extend(kept)
    for node in [n for n in model.graph.node if names.issuperset(n.output)]:
        if not any(name in reads(other) for other in model.graph.node for name in node.output):
            model.graph.node.remove(node)
