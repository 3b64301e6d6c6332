"""What stands behind a convolution over one dimension, moved to where its height of 1 still is.

A signal (batch, channels, length) becomes (batch, 1, length, channels) for the convolution, and is turned back by a
transpose and a reshape. Activations and means over the length are the same before that, where the first fuse with the
convolution and the others are a mean over height and width, which every interpreter and firmware core has.
"""

from __future__ import annotations

import dataclasses

from multigraft.converters.conversion.rewriting import free_name, int32, only_reader, prune, replace_op
from multigraft.converters.conversion.transposes import REDUCTIONS, UNARY, permutation_of
from multigraft.tflite.graph import Graph, Op

_TURN = (0, 3, 1, 2)


def raise_above_turn(graph: Graph) -> Graph:
    """Let an elementwise operator read the signal before it is turned."""
    for op in graph.ops:
        turn = _turn_before(graph, op)
        if turn is None or op.name not in UNARY or len(op.inputs) != 1:
            continue
        transpose, reshape = turn
        if only_reader(graph, reshape.outputs[0]) is not op or only_reader(graph, transpose.outputs[0]) is not reshape:
            continue
        source, middle = graph.tensors[transpose.inputs[0]], graph.tensors[transpose.outputs[0]]
        dtype, result = graph.tensors[op.outputs[0]].dtype, op.outputs[0]
        if dtype != source.dtype:
            continue
        raised = dataclasses.replace(source, name=free_name(graph, f"{result}/raised"))
        turned = dataclasses.replace(middle, name=free_name(graph, f"{result}/turned"))
        ops = (
            dataclasses.replace(op, inputs=(source.name,), outputs=(raised.name,)),
            dataclasses.replace(transpose, inputs=(raised.name, *transpose.inputs[1:]), outputs=(turned.name,)),
            dataclasses.replace(reshape, inputs=(turned.name, *reshape.inputs[1:]), outputs=(result,)),
        )
        return prune(replace_op(graph, op, ops, (raised, turned)))
    return graph


def reduce_before_turn(graph: Graph) -> Graph:
    """Let a mean (or the like) over the length of a signal read it before it is turned."""
    for op in graph.ops:
        turn = _turn_before(graph, op)
        axes = graph.constant(op.inputs[1]) if turn is not None and op.name in REDUCTIONS else None
        if turn is None or axes is None or {int(a) % 3 for a in axes.reshape(-1)} != {2}:
            continue
        result = graph.tensors[op.outputs[0]]
        over = int32(free_name(graph, f"{result.name}/axes"), (1, 2))
        source = graph.tensors[turn[0].inputs[0]]
        if not op.options.get("keep_dims"):
            return prune(replace_op(graph, op, [dataclasses.replace(op, inputs=(source.name, over.name))], [over]))
        flat = dataclasses.replace(
            result, name=free_name(graph, f"{result.name}/flat"), shape=(source.shape[0], source.shape[3])
        )
        shape = int32(free_name(graph, f"{result.name}/shape"), result.shape)
        ops = [
            dataclasses.replace(
                op, inputs=(source.name, over.name), outputs=(flat.name,), options={**op.options, "keep_dims": False}
            ),
            Op("RESHAPE", (flat.name, shape.name), (result.name,), {"new_shape": result.shape}),
        ]
        return prune(replace_op(graph, op, ops, [over, flat, shape]))
    return graph


def _turn_before(graph: Graph, op: Op) -> tuple[Op, Op] | None:
    """The transpose and the reshape that make a signal for ``op`` of a tensor with a height of 1."""
    reshape = graph.producer(op.inputs[0]) if op.inputs else None
    transpose = graph.producer(reshape.inputs[0]) if reshape is not None and reshape.name == "RESHAPE" else None
    if reshape is None or transpose is None or permutation_of(graph, transpose) != _TURN:
        return None
    batch, height, length, channels = graph.tensors[transpose.inputs[0]].shape
    is_turn = height == 1 and graph.tensors[reshape.outputs[0]].shape == (batch, channels, length)
    return (transpose, reshape) if is_turn else None
