"""A product with a constant matrix is a fully connected layer, which every kernel library has, by channel."""

from __future__ import annotations

import dataclasses

import numpy as np

from multigraft.converters.conversion.rewriting import free_name, only_reader, prune, replace_op
from multigraft.tflite.graph import Graph, Op, OptionValue, Tensor


def product_to_dense(graph: Graph) -> Graph:
    """A BATCH_MATMUL by one constant matrix becomes a FULLY_CONNECTED without bias."""
    for op in graph.ops:
        matrix = graph.constant(op.inputs[1]) if op.name == "BATCH_MATMUL" else None
        if matrix is None or op.options.get("adj_x") or matrix.ndim < 2 or matrix.size != np.prod(matrix.shape[-2:]):
            continue
        source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if graph.constant(source.name) is not None or result.shape[:-1] != source.shape[:-1]:
            continue
        plain = matrix.reshape(matrix.shape[-2:])
        rows = np.ascontiguousarray(plain if op.options.get("adj_y") else plain.T)
        weights = Tensor(free_name(graph, f"{result.name}/weights"), rows.shape, result.dtype, data=rows)
        bias = Tensor(
            free_name(graph, f"{result.name}/bias"), rows.shape[:1], result.dtype, data=np.zeros_like(rows[:, 0])
        )
        options: dict[str, OptionValue] = {"fused_activation_function": "NONE", "keep_num_dims": len(source.shape) != 2}
        dense = Op("FULLY_CONNECTED", (source.name, weights.name, bias.name), op.outputs, options)
        return prune(replace_op(graph, op, [dense], [weights, bias]))
    return graph


def fold_bias_into_dense(graph: Graph) -> Graph:
    """A constant that is added to what a fully connected layer alone gives becomes part of its bias."""
    for op in graph.ops:
        if op.name != "ADD":
            continue
        constants = [n for n in op.inputs if graph.constant(n) is not None]
        layer = next((graph.producer(n) for n in op.inputs if n not in constants), None)
        if len(constants) != 1 or layer is None or layer.name != "FULLY_CONNECTED" or len(layer.inputs) < 3:
            continue
        added, bias = graph.constant(constants[0]), graph.constant(layer.inputs[2])
        is_plain = layer.options.get("fused_activation_function", "NONE") == "NONE"
        if added is None or bias is None or not is_plain or only_reader(graph, layer.outputs[0]) is not op:
            continue
        is_per_output = added.size == 1 or (added.size == bias.size == added.shape[-1])
        if not is_per_output or graph.tensors[op.outputs[0]].shape != graph.tensors[layer.outputs[0]].shape:
            continue
        total = (bias + added.reshape(-1)).astype(bias.dtype)
        folded = Tensor(
            free_name(graph, f"{op.outputs[0]}/bias"), total.shape, graph.tensors[layer.inputs[2]].dtype, data=total
        )
        activation = op.options.get("fused_activation_function", "NONE")
        dense = layer.with_options(fused_activation_function=activation)
        dense = dataclasses.replace(dense, inputs=(*layer.inputs[:2], folded.name), outputs=op.outputs)
        return prune(replace_op(replace_op(graph, op, []), layer, [dense], [folded]))
    return graph
