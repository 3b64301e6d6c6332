"""Inputs that no node reads, as converters leave them (image sizes, thresholds): a network has none."""

from __future__ import annotations

import onnx

from multigraft.converters.importing.forms.ordering import reads


def leave_out_unused_inputs(model: onnx.ModelProto) -> list[str]:
    """Take them off the graph, in place; returns their names. Where no input is read, all stay."""
    graph = model.graph
    read = {name for node in graph.node for name in reads(node)} | {o.name for o in graph.output}
    stored = {i.name for i in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    unused = [i.name for i in graph.input if i.name not in read and i.name not in stored]
    kept = [i for i in graph.input if i.name not in unused]
    if not unused or all(i.name in stored for i in kept):
        return []
    del graph.input[:]
    graph.input.extend(kept)
    return unused
