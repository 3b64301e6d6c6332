"""Connects what onnx2tf leaves unconnected where it takes an operator that changes nothing out.

It gives what that operator read the name of what it wrote, which is an output of the graph, and other operators go on
reading the old name. Values are compared later, so that a wrong guess is found.
"""

from __future__ import annotations

import dataclasses

from multigraft.tflite.graph import Graph


def reconnected(graph: Graph) -> Graph:
    """``graph`` whose operators read an output of the same shape and type in place of a tensor that nothing writes."""
    written = {n: i for i, op in enumerate(graph.ops) for n in op.outputs}
    names: dict[str, str] = {}
    for number, op in enumerate(graph.ops):
        for name in op.inputs:
            tensor = graph.tensors.get(name)
            is_known = name in written or name in graph.inputs or graph.constant(name) is not None
            if tensor is None or is_known or name in names or 0 in tensor.shape:
                continue
            before = (n for n in graph.outputs if n in written and written[n] < number)
            same = [
                n for n in before if (graph.tensors[n].shape, graph.tensors[n].dtype) == (tensor.shape, tensor.dtype)
            ]
            if same:
                names[name] = min(same, key=lambda n: number - written[n])
    if not names:
        return graph
    ops = (dataclasses.replace(op, inputs=tuple(names.get(n, n) for n in op.inputs)) for op in graph.ops)
    return dataclasses.replace(graph, ops=tuple(ops))
