"""Small float TFLite graphs: one operator, or a few in a row, with random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import main_signature
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Quant, Tensor

Array = npt.NDArray[Any]


@dataclass
class Sketch:
    """Operators over named tensors; every method appends one and returns the name of its output."""

    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0)

    def tensor(self, shape: tuple[int, ...], dtype: str = "float32", data: Array | None = None, **more: Any) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, shape, dtype, more.get("quant"), data))
        return name

    def input(self, *shape: int, dtype: str = "float32") -> str:
        self.inputs.append(self.tensor(shape, dtype))
        return self.inputs[-1]

    def weights(self, *shape: int, dtype: str = "float32") -> str:
        value = self.random.normal(size=shape).astype(np.float32) / math.sqrt(max(1, math.prod(shape[1:])))
        return self.tensor(shape, dtype, value.astype(dtype))

    def quantised_weights(self, *shape: int) -> str:
        value = self.random.integers(-127, 128, shape).astype(np.int8)
        return self.tensor(shape, "int8", value, quant=Quant((0.01,) * shape[0], (0,) * shape[0], 0))

    def numbers(self, *values: Any, dtype: str = "int32") -> str:
        data = np.array(values[0] if len(values) == 1 else values, dtype)
        return self.tensor(data.shape, dtype, data)

    def op(
        self, name: str, inputs: tuple[str, ...], shape: tuple[int, ...], dtype: Any = "float32",
        version: Any = 1, **options: Any,
    ) -> str:  # fmt: skip
        output = self.tensor(shape, dtype)
        self.ops.append(Op(name, inputs, (output,), options, version))
        return output

    def conv(self, source: str, channels: int, kernel: int = 3, stride: int = 1, **options: Any) -> str:
        shape = self.shape(source)
        weights = self.weights(channels, kernel, kernel, shape[3])
        size = tuple(-(-s // stride) for s in shape[1:3])
        plain = {"padding": "SAME", "stride_h": stride, "stride_w": stride} | _DILATION | options
        output = (shape[0], *size, channels)
        return self.op("CONV_2D", (source, weights, self.weights(channels)), output, version=2, **plain)

    def shape(self, name: str) -> tuple[int, ...]:
        return next(t.shape for t in self.tensors if t.name == name)

    def graph(self, *outputs: str) -> Graph:
        return Graph.of("main", self.inputs, outputs, self.ops, self.tensors)

    def file(self, *outputs: str) -> bytes:
        return as_file(self.graph(*outputs))


_DILATION = {"dilation_h_factor": 1, "dilation_w_factor": 1}


def as_file(graph: Graph) -> bytes:
    """The graph as a .tflite file with one signature."""
    return tflite_file.write(Model((graph,), (main_signature(graph),)))
