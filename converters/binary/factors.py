"""Factors and summands behind a binary convolution become part of its multiplier and bias."""

from __future__ import annotations

import dataclasses

import numpy as np

from multigraft.converters.conversion.rewriting import free_name, only_reader, prune, replace_op
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, Tensor

MULTIPLIER, BIAS = 2, 3
_MOVES = frozenset({"RESHAPE", "STRIDED_SLICE"})
_ARITHMETIC = frozenset({"MUL", "ADD", "SUB", "DIV"})


def fold_factors(graph: Graph) -> Graph:
    """``graph`` with them folded, in double precision, layer by layer."""
    while (folded := _folded_once(graph)) is not None:
        graph = folded
    return graph


def _folded_once(graph: Graph) -> Graph | None:
    for op in graph.ops:
        if op.custom_code != "LceBconv2d" or graph.tensors[op.outputs[0]].dtype != "float32":
            continue
        reader, moves = _reader(graph, op)
        if reader is None or not (reader.name in _ARITHMETIC or is_batch_norm(graph, reader)):
            continue
        if (numbers := _folded(graph, op, moves[-1] if moves else op.outputs[0], reader)) is not None:
            return _with(graph, op, moves, reader, *numbers)
    return None


def _reader(graph: Graph, op: Op) -> tuple[Op | None, list[str]]:
    """The one operator that reads its result, and what a crop or a change of shape between writes."""
    moves: list[str] = []
    tensor = op.outputs[0]
    while (reader := only_reader(graph, tensor)) is not None and reader.name in _MOVES:
        if graph.tensors[reader.outputs[0]].shape[-1:] != graph.tensors[tensor].shape[-1:]:
            break
        tensor = reader.outputs[0]
        moves.append(tensor)
    return reader, moves


def channel_constant(graph: Graph, tensor: str, channels: int) -> Array | None:
    """A constant of one number, or of one for each channel, as a vector of one for each channel; None for others."""
    value = graph.constant(tensor)
    if value is None or (value.size != 1 and (value.size != channels or value.shape[-1] != channels)):
        return None
    return np.broadcast_to(value.reshape(-1), (channels,))


def is_batch_norm(graph: Graph, op: Op) -> bool:
    """Whether it is a depthwise convolution of 1 x 1 with one output for each channel, as batch norms become."""
    if op.name != "DEPTHWISE_CONV_2D" or len(op.inputs) < 3 or graph.constant(op.inputs[2]) is None:
        return False
    weights, source = graph.constant(op.inputs[1]), graph.tensors[op.inputs[0]]
    is_plain = weights is not None and weights.dtype == np.float32 and weights.shape == (1, 1, 1, source.shape[-1])
    return is_plain and source.shape == graph.tensors[op.outputs[0]].shape


def _folded(graph: Graph, op: Op, data: str, reader: Op) -> tuple[Array, Array] | None:
    multiplier, bias = graph.constant(op.inputs[MULTIPLIER]), graph.constant(op.inputs[BIAS])
    assert multiplier is not None and bias is not None
    if reader.name == "DEPTHWISE_CONV_2D":
        factor, summand = (graph.constant(name) for name in reader.inputs[1:3])
        assert factor is not None and summand is not None
        factor = factor.reshape(-1).astype(np.float64)
        return (multiplier * factor).astype(np.float32), (bias * factor + summand.reshape(-1)).astype(np.float32)
    place = reader.inputs.index(data)
    held = channel_constant(graph, reader.inputs[1 - place], len(multiplier))
    if held is None or graph.tensors[reader.outputs[0]].shape != graph.tensors[data].shape:
        return None
    a, b, c = (value.astype(np.float64) for value in (multiplier, bias, held))
    if reader.name == "MUL":
        a, b = a * c, b * c
    elif reader.name == "ADD":
        b = b + c
    elif reader.name == "SUB":
        a, b = (a, b - c) if place == 0 else (-a, c - b)
    elif place == 0 and c.all():
        a, b = a / c, b / c
    else:
        return None
    return a.astype(np.float32), b.astype(np.float32)


def _with(graph: Graph, op: Op, moves: list[str], reader: Op, multiplier: Array, bias: Array) -> Graph:
    result = graph.tensors[reader.outputs[0]]
    tensors = [
        Tensor(free_name(graph, f"{result.name}/{kind}"), value.shape, data=value)
        for kind, value in (("multiplier", multiplier), ("bias", bias))
    ]
    inputs = (*op.inputs[:MULTIPLIER], *(t.name for t in tensors), *op.inputs[BIAS + 1 :])
    graph = replace_op(graph, op, [dataclasses.replace(op, inputs=inputs)], tensors)
    last = graph.producer(moves[-1] if moves else op.outputs[0])
    assert last is not None
    activation = str(reader.options.get("fused_activation_function", "NONE"))
    if activation != "NONE":
        return prune(replace_op(graph, reader, [Op(activation, last.outputs, (result.name,))]))
    return prune(replace_op(replace_op(graph, reader, []), last, [dataclasses.replace(last, outputs=(result.name,))]))
