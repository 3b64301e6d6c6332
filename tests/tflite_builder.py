"""Builds small .tflite files in code, whole and cut into segments, so that tests need no converter.

A :class:`Graph` is a list of operators over named tensors. :func:`serialise` writes it as one subgraph per named group
of operators, each with its own signature; equal constants share one buffer, as in a bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}


@dataclass(frozen=True)
class Tensor:
    """``scale`` holds one entry per tensor or one per channel of axis ``axis``; ``data`` is set for constants."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: int = 0
    axis: int = 0
    data: Array | None = None


@dataclass(frozen=True)
class Operator:
    code: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options_type: int = 0
    options: Any = None
    version: int = 1


@dataclass
class Graph:
    """Operators in running order over named tensors; :meth:`conv` and the others append one and return its output."""

    seed: int = 0
    float32: bool = False
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def input(self, name: str, shape: tuple[int, ...], scale: float = 1 / 255, zero_point: int = -128) -> str:
        return self._activation(name, shape, scale, zero_point)

    def conv(self, name: str, source: str, channels: int, stride: int = 1, kernel: int = 3, scale: float = 0.05) -> str:
        """CONV_2D, SAME padding, ReLU, per-channel int8 weights; the operator and its output are called ``name``."""
        _, height, width, depth = self.tensors[source].shape
        weights = self._random.normal(size=(channels, kernel, kernel, depth)) / np.sqrt(kernel * kernel * depth / 2)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideW = options.strideH = stride
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        shape = (1, -(-height // stride), -(-width // stride), channels)
        return self._linear(
            name, source, weights, shape, scale, -128, schema.BuiltinOperator.CONV_2D,
            schema.BuiltinOptions.Conv2DOptions, options,
        )  # fmt: skip

    def mean(self, name: str, source: str) -> str:
        """Global average pooling by MEAN over height and width, without kept dimensions."""
        averaged = self.tensors[source]
        axes = self._constant(f"{name}/axes", np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        out = self._activation(name, (1, averaged.shape[3]), *self._quantisation(averaged))
        self.operators[name] = Operator(
            schema.BuiltinOperator.MEAN, (source, axes), (out,), schema.BuiltinOptions.ReducerOptions, options, 2
        )
        return out

    def dense(self, name: str, source: str, units: int, scale: float = 0.1, zero_point: int = 0) -> str:
        depth = self.tensors[source].shape[-1]
        weights = self._random.normal(size=(units, depth)) * 2 / np.sqrt(depth)
        return self._linear(
            name, source, weights, (1, units), scale, zero_point, schema.BuiltinOperator.FULLY_CONNECTED,
            schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT(), version=4,
        )  # fmt: skip

    def softmax(self, name: str, source: str) -> str:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        out = self._activation(name, self.tensors[source].shape, 1 / 256, -128)
        self.operators[name] = Operator(
            schema.BuiltinOperator.SOFTMAX, (source,), (out,), schema.BuiltinOptions.SoftmaxOptions, options, 2
        )
        return out

    def _quantisation(self, tensor: Tensor) -> tuple[float, int]:
        return (tensor.scale[0], tensor.zero_point) if tensor.scale else (1.0, 0)

    def _activation(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        if self.float32:
            self.tensors[name] = Tensor(name, shape, "float32")
        else:
            scale = float(np.float32(scale))
            self.tensors[name] = Tensor(name, shape, "int8", (scale,), zero_point)
        return name

    def _constant(self, name: str, data: Array, scale: Iterable[float] = (), axis: int = 0) -> str:
        self.tensors[name] = Tensor(name, data.shape, str(data.dtype), tuple(map(float, scale)), 0, axis, data)
        return name

    def _linear(
        self, name: str, source: str, weights: Array, shape: tuple[int, ...], scale: float, zero_point: int,
        code: int, options_type: int, options: Any, version: int = 3,
    ) -> str:  # fmt: skip
        bias = self._random.normal(size=weights.shape[0]) * 0.1
        if self.float32:
            matrix = self._constant(f"{name}/weights", weights.astype(np.float32))
            offset = self._constant(f"{name}/bias", bias.astype(np.float32))
            version = 1
        else:
            flat = np.abs(weights).reshape(len(weights), -1)
            steps = flat.max(axis=1) / 127 if code == schema.BuiltinOperator.CONV_2D else np.array([flat.max() / 127])
            steps = steps.astype(np.float32)
            grid = weights / steps.reshape(-1, *[1] * (weights.ndim - 1))
            matrix = self._constant(f"{name}/weights", np.rint(grid).astype(np.int8), steps)
            input_scale = self._quantisation(self.tensors[source])[0]
            bias_steps = steps * np.float32(input_scale)
            offset = self._constant(f"{name}/bias", np.rint(bias / bias_steps).astype(np.int32), bias_steps)
        out = self._activation(name, shape, scale, zero_point)
        self.operators[name] = Operator(code, (source, matrix, offset), (out,), options_type, options, version)
        return out


def boundary(graph: Graph, segments: Mapping[str, Sequence[str]], outputs: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Per segment (name to operator names) the tensors it reads from and writes for others, in order of appearance."""
    result = {}
    for name, members in segments.items():
        made = [t for m in members for t in graph.operators[m].outputs]
        read = [t for m in members for t in graph.operators[m].inputs if graph.tensors[t].data is None]
        others = [o for other, ms in segments.items() if other != name for o in ms]
        wanted = {t for o in others for t in graph.operators[o].inputs} | set(outputs)
        result[name] = (
            tuple(dict.fromkeys(t for t in read if t not in made)),
            tuple(t for t in made if t in wanted),
        )
    return result


def serialise(graph: Graph, segments: Mapping[str, Sequence[str]], outputs: Sequence[str]) -> bytes:
    """One flatbuffer with one subgraph and one signature per segment; arguments are called like their tensors."""
    model = schema.ModelT()
    model.version = 3
    model.description = "multigraft test"
    model.buffers = [schema.BufferT()]
    model.operatorCodes, model.subgraphs, model.signatureDefs = [], [], []
    codes: dict[tuple[int, int], int] = {}
    buffers: dict[bytes, int] = {}
    for number, (name, (reads, writes)) in enumerate(boundary(graph, segments, outputs).items()):
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors, subgraph.operators = name, [], []
        index: dict[str, int] = {}

        def place(tensor: str, subgraph: Any = subgraph, index: dict[str, int] = index) -> int:
            if tensor not in index:
                index[tensor] = len(subgraph.tensors)
                subgraph.tensors.append(_tensor(graph.tensors[tensor], model.buffers, buffers))
            return index[tensor]

        for member in segments[name]:
            wanted = graph.operators[member]
            operator = schema.OperatorT()
            key = (wanted.code, wanted.version)
            if key not in codes:
                codes[key] = len(codes)
                code = schema.OperatorCodeT()
                code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted.code, min(wanted.code, 127), key[1]
                model.operatorCodes.append(code)
            operator.opcodeIndex = codes[key]
            operator.inputs = [place(t) for t in wanted.inputs]
            operator.outputs = [place(t) for t in wanted.outputs]
            operator.builtinOptionsType, operator.builtinOptions = wanted.options_type, wanted.options
            subgraph.operators.append(operator)
        subgraph.inputs, subgraph.outputs = [index[t] for t in reads], [index[t] for t in writes]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = name, number
        signature.inputs = [_argument(t, index[t]) for t in reads]
        signature.outputs = [_argument(t, index[t]) for t in writes]
        model.subgraphs.append(subgraph)
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _argument(name: str, index: int) -> Any:
    argument = schema.TensorMapT()
    argument.name, argument.tensorIndex = name, index
    return argument


def _tensor(described: Tensor, buffers: list[Any], known: dict[bytes, int]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = described.name, list(described.shape), _TYPES[described.dtype]
    if described.scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = list(described.scale)
        tensor.quantization.zeroPoint = [described.zero_point] * len(described.scale)
        tensor.quantization.quantizedDimension = described.axis
    if described.data is not None:
        raw = described.data.tobytes()
        if raw not in known:
            known[raw] = len(buffers)
            buffer = schema.BufferT()
            buffer.data = list(raw)
            buffers.append(buffer)
        tensor.buffer = known[raw]
    return tensor
