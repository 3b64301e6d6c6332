"""What stands behind a convolution over one dimension, moved to where its height of 1 still is.

A signal (batch, channels, length) becomes (batch, 1, length, channels) for the convolution, and is turned back by a
transpose and a reshape. Activations and means over the length are the same before that, where the first fuse with the
convolution and the others are a mean over height and width, which every interpreter and firmware core has.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from multigraft.converters.conversion.rewriting import free_name, int32, only_reader, prune, replace_op
from multigraft.converters.conversion.transposes import BROADCASTING, REDUCTIONS, UNARY, permutation_of
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op

_TURN = (0, 3, 1, 2)


def raise_above_turn(graph: Graph) -> Graph:
    """Let an elementwise operator read the signal before it is turned; constants beside it are turned with it."""
    for op in graph.ops:
        place = _signal_of(graph, op)
        turn = None if place is None else _turn_before(graph, op, place)
        if place is None or turn is None:
            continue
        transpose, reshape = turn
        if only_reader(graph, reshape.outputs[0]) is not op or only_reader(graph, transpose.outputs[0]) is not reshape:
            continue
        source, middle = graph.tensors[transpose.inputs[0]], graph.tensors[transpose.outputs[0]]
        dtype, result = graph.tensors[op.outputs[0]].dtype, op.outputs[0]
        shapes = {graph.tensors[name].shape for name in (result, reshape.outputs[0])}
        if dtype != source.dtype or len(shapes) > 1:
            continue
        raised = dataclasses.replace(source, name=free_name(graph, f"{result}/raised"))
        turned = dataclasses.replace(middle, name=free_name(graph, f"{result}/turned"))
        read, added = [source.name], []
        if len(op.inputs) == 2:
            held = graph.tensors[op.inputs[1 - place]]
            if held.data is None or (beside := _turned(held.data)) is None:
                continue
            name = free_name(graph, f"{result}/beside")
            added = [dataclasses.replace(held, name=name, shape=beside.shape, data=beside)]
            read.insert(1 - place, name)
        ops = (
            dataclasses.replace(op, inputs=tuple(read), outputs=(raised.name,)),
            dataclasses.replace(transpose, inputs=(raised.name, *transpose.inputs[1:]), outputs=(turned.name,)),
            dataclasses.replace(reshape, inputs=(turned.name, *reshape.inputs[1:]), outputs=(result,)),
        )
        return prune(replace_op(graph, op, ops, (*added, raised, turned)))
    return graph


def _signal_of(graph: Graph, op: Op) -> int | None:
    """Which input of an elementwise operator the signal may be: the only one, or that beside a constant."""
    if op.name in UNARY and len(op.inputs) == 1:
        return 0
    computed = [i for i, name in enumerate(op.inputs) if graph.constant(name) is None]
    return computed[0] if op.name in BROADCASTING and len(op.inputs) == 2 and len(computed) == 1 else None


def _turned(constant: Array) -> Array | None:
    """What stands beside (batch, channels, length), as it stands beside (batch, 1, length, channels)."""
    if constant.ndim > 3:
        return None
    whole = constant.reshape((1,) * (3 - constant.ndim) + constant.shape)
    return np.ascontiguousarray(whole.transpose(0, 2, 1)[:, None])


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


def _turn_before(graph: Graph, op: Op, place: int = 0) -> tuple[Op, Op] | None:
    """The transpose and the reshape that make a signal for ``op`` of a tensor with a height of 1."""
    reshape = graph.producer(op.inputs[place]) if op.inputs else None
    transpose = graph.producer(reshape.inputs[0]) if reshape is not None and reshape.name == "RESHAPE" else None
    if reshape is None or transpose is None or permutation_of(graph, transpose) != _TURN:
        return None
    batch, height, length, channels = graph.tensors[transpose.inputs[0]].shape
    is_turn = height == 1 and graph.tensors[reshape.outputs[0]].shape == (batch, channels, length)
    return (transpose, reshape) if is_turn else None
