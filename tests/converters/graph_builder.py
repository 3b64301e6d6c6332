"""Builds small float32 .tflite graphs in code, with seeded weights, and runs them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Arrays, Runner, tapped
from multigraft.converters.quantising.precisions import AROUND_BINARY, PRECISIONS
from multigraft.tflite.graph import Graph, Op, OptionValue, Tensor

PLAIN_PRECISIONS = tuple(name for name in PRECISIONS if name not in AROUND_BINARY)
"""Those of any graph; the others need layers that were trained binary."""


class GraphBuilder:
    """Adds operators one by one; every method returns the name of the tensor it made."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []

    def input(self, name: str, *shape: int) -> str:
        self.tensors[name] = Tensor(name, shape)
        self.inputs.append(name)
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: str = "float32") -> str:
        data = np.asarray(value, dtype)
        self.tensors[name] = Tensor(name, data.shape, dtype, data=data)
        return name

    def op(
        self, kind: str, name: str, inputs: list[str], shape: tuple[int, ...], version: int = 1, **options: OptionValue
    ) -> str:
        self.tensors[name] = Tensor(name, shape)
        self.ops.append(Op(kind, tuple(inputs), (name,), options, version))
        return name

    def transpose(self, name: str, x: str, *permutation: int) -> str:
        perm = self.constant(f"{name}/perm", permutation, "int32")
        shape = tuple(self.tensors[x].shape[p] for p in permutation)
        return self.op("TRANSPOSE", name, [x, perm], shape)

    def reshape(self, name: str, x: str, *shape: int) -> str:
        target = self.constant(f"{name}/shape", shape, "int32")
        return self.op("RESHAPE", name, [x, target], shape, new_shape=shape)

    def pad(
        self, name: str, x: str, rows: tuple[int, int], columns: tuple[int, int], value: float | None = None
    ) -> str:
        amounts = self.constant(f"{name}/paddings", [(0, 0), rows, columns, (0, 0)], "int32")
        n, h, w, c = self.tensors[x].shape
        shape = (n, h + sum(rows), w + sum(columns), c)
        if value is None:
            return self.op("PAD", name, [x, amounts], shape)
        return self.op("PADV2", name, [x, amounts, self.constant(f"{name}/value", value)], shape)

    def conv(
        self,
        name: str,
        x: str,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        padding: str = "SAME",
        activation: str = "NONE",
        dilation: int = 1,
        depthwise: bool = False,
    ) -> str:
        n, height, width, inputs = self.tensors[x].shape
        outputs = inputs if depthwise else outputs
        shape = (1, kernel, kernel, inputs) if depthwise else (outputs, kernel, kernel, inputs)
        scale = np.sqrt(2 / (kernel * kernel * (1 if depthwise else inputs)))
        w = self.constant(f"{name}/weights", self.rng.standard_normal(shape) * scale)
        b = self.constant(f"{name}/bias", self.rng.standard_normal(outputs) * 0.1)
        reach = 0 if padding == "SAME" else (kernel - 1) * dilation
        size = tuple(-(-(d - reach) // stride) for d in (height, width))
        options: dict[str, OptionValue] = {
            "padding": padding,
            "stride_h": stride,
            "stride_w": stride,
            "dilation_h_factor": dilation,
            "dilation_w_factor": dilation,
            "fused_activation_function": activation,
        }
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.tensors[name] = Tensor(name, (n, *size, outputs))
        self.ops.append(Op(kind, (x, w, b), (name,), options | ({"depth_multiplier": 1} if depthwise else {})))
        return name

    def mean(self, name: str, x: str, axes: tuple[int, ...] = (1, 2), keep: bool = False) -> str:
        old = self.tensors[x].shape
        shape = tuple(1 if i in axes else d for i, d in enumerate(old) if keep or i not in axes)
        return self.op("MEAN", name, [x, self.constant(f"{name}/axes", axes, "int32")], shape, keep_dims=keep)

    def dense(self, name: str, x: str, outputs: int) -> str:
        inputs = self.tensors[x].shape[-1]
        w = self.constant(f"{name}/weights", self.rng.standard_normal((outputs, inputs)) / np.sqrt(inputs))
        b = self.constant(f"{name}/bias", self.rng.standard_normal(outputs) * 0.1)
        return self.op("FULLY_CONNECTED", name, [x, w, b], (1, outputs), fused_activation_function="NONE")

    def graph(self, *outputs: str) -> Graph:
        return Graph.of("main", self.inputs, outputs, self.ops, self.tensors.values())


def two_tasks(seed: int = 0) -> Graph:
    """A trunk (conv, depthwise, residual sum) that ends at ``trunk``, and heads ``a`` and ``b``."""
    b = GraphBuilder(seed)
    x = b.input("image", 1, 12, 12, 2)
    first = b.conv("first", x, 8, activation="RELU")
    second = b.conv("second", first, 8, depthwise=True)
    trunk = b.op("ADD", "trunk", [first, second], (1, 12, 12, 8), fused_activation_function="RELU")
    padded = b.pad("padded", trunk, (1, 1), (1, 1))
    for name, classes in (("a", 5), ("b", 3)):
        y = b.conv(f"{name}/conv", padded, 8, stride=2, padding="VALID", activation="RELU6")
        b.dense(name, b.mean(f"{name}/mean", y), classes)
    return b.graph("a", "b")


def feeds(graph: Graph, count: int, seed: int = 1) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    return [{n: rng.standard_normal(graph.tensors[n].shape, np.float32) for n in graph.inputs} for _ in range(count)]


def run(graph: Graph, feed: Arrays, backend: str = "ai-edge-litert") -> dict[str, npt.NDArray[Any]]:
    return Runner(tapped(graph, graph.outputs), backend)(feed)


def with_outputs(graph: Graph, *outputs: str) -> Graph:
    return dataclasses.replace(graph, outputs=outputs)


def with_constant(graph: Graph, name: str, value: npt.ArrayLike) -> Graph:
    """``graph`` with another value, of the same shape, of a float constant."""
    data = np.asarray(value, np.float32).reshape(graph.tensors[name].shape)
    return dataclasses.replace(
        graph, tensors={**graph.tensors, name: dataclasses.replace(graph.tensors[name], data=data)}
    )
