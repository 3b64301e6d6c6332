"""Gives a tensor that onnx2tf forgot to write its value again.

Where it turns a chain of operators channel-last, it renames what they write (``x`` becomes ``x_nhwc_bridge``), and does
not tell all readers: some still read ``x``, which nothing writes any more. It is the transpose of the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from multigraft.converters.conversion.rewriting import free_name, int32
from multigraft.tflite.graph import Graph, Op

_SUFFIX = "_nhwc"
_FOR_READER = "_input_nhwc"
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


def write_dangling(graph: Graph, readers: Mapping[str, str] = MappingProxyType({})) -> Graph:
    """With a transpose for each tensor of rank 4 that is read, never written, and computed under another name.

    Args:
        graph: As onnx2tf wrote it.
        readers: Output of an ONNX node to what it reads first: onnx2tf may name a tensor after the one node that reads
            it channels last.
    """
    read = dict.fromkeys(name for op in graph.ops for name in op.inputs if name)
    for name in (*read, *graph.outputs):
        if graph.producer(name) is None and name not in graph.inputs and graph.constant(name) is None:
            graph = _written(graph, name, readers)
    return graph


def _written(graph: Graph, name: str, readers: Mapping[str, str]) -> Graph:
    wanted = graph.tensors[name]
    if len(wanted.shape) != 4:
        return graph
    shape = tuple(wanted.shape[i] for i in (0, 2, 3, 1))
    for index, op in enumerate(graph.ops):
        for result in op.outputs:
            is_for_reader = result.endswith(_FOR_READER) and readers.get(result.removesuffix(_FOR_READER)) == name
            if (is_for_reader or result.startswith(name + _SUFFIX)) and graph.tensors[result].shape == shape:
                perm = int32(free_name(graph, f"{name}/perm"), _TO_CHANNELS_FIRST)
                transpose = Op("TRANSPOSE", (result, perm.name), (name,))
                ops = (*graph.ops[: index + 1], transpose, *graph.ops[index + 1 :])
                return dataclasses.replace(graph, ops=ops, tensors={**graph.tensors, perm.name: perm})
    return graph
