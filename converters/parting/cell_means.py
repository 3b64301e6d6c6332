"""Averages over the cells of a picture get a scale of their own.

An int8 AVERAGE_POOL_2D writes in the steps of what it reads, and averages lie far closer together than values do: of
four cells of 28 x 28 positions a linear layer behind them hears little. MEAN has two scales. Over cells it is taken
twice, along the columns and along the rows of each cell, on tensors of four axes over axes 1 and 2: that is the form
which interpreters have fast kernels for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from multigraft.converters.conversion.rewriting import free_name, int32, prune, replace_op
from multigraft.tflite.graph import Graph, Op, Tensor

_BETWEEN = ("FULLY_CONNECTED", "RESHAPE", "TRANSPOSE")
"""What may stand between a pool and the answer that hangs on it."""


def with_cell_means(graph: Graph, answers: Iterable[str]) -> Graph:
    """``graph`` where average pools in front of linear answers are means; what no cells tile stays as it is.

    Args:
        graph: Float32.
        answers: Tensors that a linear layer writes, of a pool or of anything else.
    """
    for answer in answers:
        op = graph.producer(answer)
        while op is not None and op.name in _BETWEEN:
            op = graph.producer(op.inputs[0])
        if op is not None and op.name == "AVERAGE_POOL_2D":
            graph = _as_means(graph, op)
    return graph


def _as_means(graph: Graph, pool: Op) -> Graph:
    source, result = pool.inputs[0], pool.outputs[0]
    height, width, channels = graph.tensors[source].shape[1:]
    rows, columns = graph.tensors[result].shape[1:3]
    cell = height // rows, width // columns
    window = pool.options.get("filter_height"), pool.options.get("filter_width")
    stride = pool.options.get("stride_h"), pool.options.get("stride_w")
    is_tiled = window == stride == cell and (rows * cell[0], columns * cell[1]) == (height, width)
    if not is_tiled or math.prod(cell) == 1 or pool.options.get("fused_activation_function", "NONE") != "NONE":
        return graph
    ops: list[Op] = []
    tensors: dict[str, Tensor] = {}

    def written(kind: str, read: str, shape: tuple[int, ...], constant: tuple[int, ...], name: str = "") -> str:
        name = name or free_name(graph, f"{result}/{len(ops)}")
        values = int32(free_name(graph, f"{result}/{len(ops)}/{'axes' if kind == 'MEAN' else 'shape'}"), constant)
        tensors[values.name] = values
        if name != result:
            tensors[name] = Tensor(name, shape)
        options = {"keep_dims": True} if kind == "MEAN" else {"new_shape": constant}
        ops.append(Op(kind, (read, values.name), (name,), options))
        return name

    def averaged(read: str, parts: int, length: int, inner: int) -> str:
        if length == 1:
            return read
        apart = (parts, length, 1, inner)
        return written("MEAN", written("RESHAPE", read, apart, apart), (parts, 1, 1, inner), (1, 2))

    found = averaged(source, rows, cell[0], width * channels)
    found = averaged(found, rows * columns, cell[1], channels)
    written("RESHAPE", found, (), graph.tensors[result].shape, result)
    return prune(replace_op(graph, pool, ops, tensors.values()))
