"""Weights of -a and a of ordinary layers, stored as integers of one byte that the interpreter makes floats of."""

from __future__ import annotations

import dataclasses

import numpy as np

from multigraft.converters.binary.layers import find_layers
from multigraft.converters.conversion.rewriting import free_name
from multigraft.converters.network.steps import sizes_of
from multigraft.tflite.graph import Graph, Op, Quant, Tensor

LEAST_WEIGHTS = 512
"""A smaller constant gains less than the operator takes."""


def with_stored_signs(graph: Graph) -> Graph:
    """``graph`` with the float weights of its binary layers as int8 behind DEQUANTIZE, to the same bits.

    The interpreters compute DEQUANTIZE of a constant once, when they load the model.

    Args:
        graph: Float where its binary layers are, none of which is written as binary operator.
    """
    names = dict.fromkeys(layer.op.inputs[1] for layer in find_layers(graph).layers.values())
    tensors, ops = dict(graph.tensors), []
    for name in names:
        weights = graph.constant(name)
        sizes = None if weights is None or weights.dtype != np.float32 else sizes_of(weights)
        if weights is None or sizes is None or weights.size < LEAST_WEIGHTS:
            continue
        if not sizes.all() or (np.abs(weights).reshape(len(sizes), -1) != sizes[:, None]).any():
            continue
        scales = np.unique(sizes) if len(np.unique(sizes)) == 1 else sizes
        stored = free_name(dataclasses.replace(graph, tensors=tensors), f"{name}/signs")
        quant = Quant(tuple(map(float, scales)), (0,) * len(scales))
        tensors[stored] = Tensor(stored, weights.shape, "int8", quant, np.sign(weights).astype(np.int8))
        tensors[name] = Tensor(name, weights.shape)
        ops.append(Op("DEQUANTIZE", (stored,), (name,)))
    return dataclasses.replace(graph, tensors=tensors, ops=(*ops, *graph.ops))
