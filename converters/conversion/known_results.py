"""Leaves out operators whose results onnx2tf knows already, such as the shape that a Squeeze turns its input into.

It writes both, SHAPE and GATHER and what they give for the fixed shapes of a network. A tensor that has a value and is
written as well is damaged to every reader of the file.
"""

from __future__ import annotations

import dataclasses
import math

from multigraft.converters.conversion.rewriting import free_name, int32, prune, replace_op
from multigraft.tflite.graph import Graph


def without_known_results(graph: Graph) -> Graph:
    """``graph`` without operators all of whose outputs have a value, and without what only these read."""
    kept = tuple(
        op for op in graph.ops if not op.outputs or not all(graph.constant(name) is not None for name in op.outputs)
    )
    return graph if len(kept) == len(graph.ops) else prune(dataclasses.replace(graph, ops=kept))


def with_agreeing_reshapes(graph: Graph) -> Graph:
    """``graph`` whose reshapes to a single number give the row of one that their result is said to be.

    onnx2tf writes the shape of a single number as the target, and for the result the shape that readers work with.
    """
    for op in graph.ops:
        target = graph.constant(op.inputs[1]) if op.name == "RESHAPE" and len(op.inputs) > 1 else None
        shape = graph.tensors[op.outputs[0]].shape if op.outputs else ()
        if target is None or target.size or not shape or math.prod(shape) != 1:
            continue
        wanted = int32(free_name(graph, f"{op.outputs[0]}/shape"), shape)
        options = {**op.options, "new_shape": shape} if op.options else op.options
        agreeing = dataclasses.replace(op, inputs=(op.inputs[0], wanted.name), options=options)
        graph = replace_op(graph, op, [agreeing], [wanted])
    return prune(graph)
