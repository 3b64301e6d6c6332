"""Binary operators read and write integers themselves, in place of a DEQUANTIZE before and a QUANTIZE behind them."""

from __future__ import annotations

import dataclasses

from multigraft.converters.conversion.rewriting import prune
from multigraft.tflite.graph import Graph, Op

_LOWEST = -128


def join_integers(graph: Graph) -> Graph:
    """``graph`` with int8 read by LceQuantize and written by LceBconv2d wherever the neighbours have it."""
    ops = tuple(_reading(graph, op) for op in graph.ops)
    graph = prune(dataclasses.replace(graph, ops=ops))
    for name in [op.outputs[0] for op in graph.ops if op.custom_code == "LceBconv2d"]:
        graph = _writing(graph, name)
    return graph


def _reading(graph: Graph, op: Op) -> Op:
    before = graph.producer(op.inputs[0]) if op.custom_code == "LceQuantize" else None
    if before is None or before.name != "DEQUANTIZE":
        return op
    stored = graph.tensors[before.inputs[0]]
    is_taken = stored.dtype == "int8" and stored.quant is not None and stored.quant.per_tensor
    return dataclasses.replace(op, inputs=before.inputs) if is_taken else op


def _writing(graph: Graph, name: str) -> Graph:
    """With the QUANTIZE that alone reads a convolution, and a RELU that saturation does, in that convolution."""
    conv = graph.producer(name)
    readers = graph.consumers(name)
    gone: list[Op] = []
    if conv is None or name in graph.outputs or graph.tensors[name].dtype != "float32":
        return graph
    if len(readers) == 1 and readers[0].name == "RELU" and readers[0].outputs[0] not in graph.outputs:
        gone.append(readers[0])
        readers = graph.consumers(readers[0].outputs[0])
    results = {r.outputs[0] for r in readers}
    if len(readers) != 1 or readers[0].name != "QUANTIZE" or len(results) != 1:
        return graph
    result = graph.tensors[results.pop()]
    if result.dtype != "int8" or result.quant is None or not result.quant.per_tensor:
        return graph
    if gone and result.quant.zero_points[0] != _LOWEST:
        return graph
    gone.append(readers[0])
    new = dataclasses.replace(conv, outputs=(result.name,))
    ops = tuple(new if op is conv else op for op in graph.ops if not any(op is one for one in gone))
    return prune(dataclasses.replace(graph, ops=ops))
