"""Multiply-accumulate counts and weight bytes."""

from __future__ import annotations

import numpy as np

from multigraft.tflite.graph import Graph, Op, Quant, Tensor
from multigraft.tflite.macs import graph_macs, op_macs
from tests.converters.graph_builder import GraphBuilder, two_tasks


def test_convolutions_count_output_pixels_times_kernel() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 8, 8, 4)
    y = b.conv("conv", x, 6, stride=2)
    z = b.conv("depthwise", y, 6, depthwise=True)
    b.dense("dense", b.mean("mean", z), 10)
    graph = b.graph("dense")
    counts = {op.name: op_macs(graph, op) for op in graph.ops}
    assert counts == {
        "CONV_2D": 4 * 4 * 6 * 3 * 3 * 4,
        "DEPTHWISE_CONV_2D": 4 * 4 * 6 * 3 * 3,
        "MEAN": 0,
        "FULLY_CONNECTED": 6 * 10,
    }
    assert graph_macs(graph) == sum(counts.values())


def test_transposed_convolution_counts_input_pixels() -> None:
    tensors = [
        Tensor("shape", (4,), "int32", data=np.array([1, 8, 8, 3], np.int32)),
        Tensor("w", (3, 2, 2, 5), data=np.zeros((3, 2, 2, 5), np.float32)),
        Tensor("x", (1, 4, 4, 5)),
        Tensor("y", (1, 8, 8, 3)),
    ]
    graph = Graph.of("up", ["x"], ["y"], [Op("TRANSPOSE_CONV", ("shape", "w", "x"), ("y",))], tensors)
    assert graph_macs(graph) == 4 * 4 * 5 * 3 * 2 * 2


def test_matrix_products_count_rows_columns_and_inner_size() -> None:
    tensors = [Tensor("a", (2, 7, 3)), Tensor("b", (2, 3, 5)), Tensor("y", (2, 7, 5))]
    graph = Graph.of("product", ["a", "b"], ["y"], [Op("BATCH_MATMUL", ("a", "b"), ("y",))], tensors)
    assert graph_macs(graph) == 2 * 7 * 3 * 5


def test_weights_are_counted_once_and_int4_as_half_bytes() -> None:
    data = np.ones((3, 5), np.int8)
    quant = Quant((1.0,) * 3, (0,) * 3)
    tensors = [
        Tensor("x", (1, 5), "int8", Quant((1.0,), (0,))),
        Tensor("w", (3, 5), "int4", quant, data),
        Tensor("same", (3, 5), "int4", quant, data.copy()),
        Tensor("y", (1, 3), "int8", Quant((1.0,), (0,))),
        Tensor("z", (1, 3), "int8", Quant((1.0,), (0,))),
    ]
    ops = [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",)), Op("FULLY_CONNECTED", ("x", "same", ""), ("z",))]
    assert Graph.of("g", ["x"], ["y", "z"], ops, tensors).weights_bytes() == 8
    assert two_tasks().operator_counts()["CONV_2D"] == 3
