"""Reads and writes .tflite files (FlatBuffers, file identifier TFL3) as :class:`multigraft.tflite.graph.Model`.

Weights may lie in the flatbuffer or behind it (offset and size, as litert-quantizer writes them); they are always
written into it, each distinct content once, aligned to 16 bytes as the schema demands.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError, MissingDependencyError
from multigraft.installing import how_missing
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Signature, Tensor
from multigraft.tflite.operators import ACTIVATIONS, NAMES, OPERATORS, PACKED_BITS, PADDINGS, TENSOR_TYPES

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16

_TYPE_NAMES = {code: name for name, code in TENSOR_TYPES.items()}
_ENUMS: dict[str, tuple[str, ...]] = {"fused_activation_function": ACTIVATIONS, "padding": PADDINGS}
_LAST_OLD_CODE = 127
"""Operator codes above stand in a second field; the first then holds 127."""


def read(source: bytes | str | os.PathLike[str], *, stateful: bool = False) -> Model:
    """Read a .tflite file, given as its content or its path.

    Args:
        source: The content or the path.
        stateful: Take tensors that keep their value from run to run (the states of LSTM and SVDF), too.

    Raises:
        InputError: It is not there, no .tflite file, truncated, or holds what this reader does not know.
        MissingDependencyError: The schema (package ai-edge-litert) is not installed.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        where, data = "the model", bytes(source)
    else:
        where = str(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise InputError(f"{where} cannot be read: {error.strerror}", "check the path") from error
    if data[4:8] != IDENTIFIER:
        raise InputError(f"{where} is not a .tflite file", "give a file that a TFLite converter wrote")
    schema = _schema()
    try:
        packed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        return _Reader(packed, data, stateful).model()
    except InputError as error:
        raise InputError(f"{where} {error.problem}", error.remedy) from error
    except (struct.error, IndexError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(f"{where} is truncated or damaged", "copy it again") from error


def write(model: Model) -> bytes:
    """The file content of ``model``; equal models give equal bytes.

    Raises:
        MissingDependencyError: The schema (package ai-edge-litert) is not installed.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_Writer(model).packed().Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except Exception as error:
        raise MissingDependencyError(
            f"reading a .tflite file needs ai-edge-litert, which is {how_missing(error)}",
            "install ai-edge-litert with pip",
        ) from error
    return schema_py_generated


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _sequence(value: Any) -> list[Any]:
    return [] if value is None else list(value)


class _Reader:
    def __init__(self, packed: Any, data: bytes, stateful: bool) -> None:
        self.packed = packed
        self.data = data
        self.stateful = stateful

    def model(self) -> Model:
        subgraphs = tuple(self.graph(i, s) for i, s in enumerate(_sequence(self.packed.subgraphs)))
        if not subgraphs:
            raise InputError("is truncated or damaged (no subgraph)", "copy it again")
        signatures = tuple(self.signature(s, subgraphs) for s in _sequence(self.packed.signatureDefs))
        return Model(subgraphs, signatures, _text(self.packed.description))

    def graph(self, index: int, packed: Any) -> Graph:
        names = _unique([_text(t.name) for t in _sequence(packed.tensors)])
        tensors = {n: self.tensor(n, t) for n, t in zip(names, _sequence(packed.tensors), strict=True)}

        def named(indices: Any) -> tuple[str, ...]:
            return tuple("" if i < 0 else names[i] for i in _sequence(indices))

        ops = tuple(self.op(op, named) for op in _sequence(packed.operators))
        name = _text(packed.name) or f"subgraph_{index}"
        inputs = named(packed.inputs)
        written = {*inputs, *(n for op in ops for n in op.outputs)}
        # A constant without elements (the shape of a single number) has no bytes to tell it from what is computed.
        tensors |= {
            n: dataclasses.replace(t, data=np.empty(t.shape, t.dtype))
            for n, t in tensors.items()
            if 0 in t.shape and t.dtype in ("int32", "int64") and t.data is None and n not in written
        }
        return Graph(name, inputs, named(packed.outputs), ops, tensors)

    def tensor(self, name: str, packed: Any) -> Tensor:
        if packed.type not in _TYPE_NAMES:
            raise InputError(f"holds tensor {name!r} of an element type without a name here ({packed.type})")
        if packed.isVariable and not self.stateful:
            raise InputError(f"holds tensor {name!r}, which is a variable", "give a plain feed-forward model")
        dtype = _TYPE_NAMES[packed.type]
        shape = tuple(int(d) for d in _sequence(packed.shape))
        value = self.value(packed.buffer, dtype, shape, packed.sparsity)
        quant = _quant(name, packed.quantization, len(shape))
        return Tensor(name, shape, dtype, quant, value, is_variable=bool(packed.isVariable))

    def value(self, index: int, dtype: str, shape: tuple[int, ...], sparsity: Any) -> Array | None:
        buffer = self.packed.buffers[index]
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(self.data):
                raise ValueError("weights behind the end of the file")
            raw = np.frombuffer(self.data, np.uint8, buffer.size, buffer.offset)
        elif buffer.data is None or len(buffer.data) == 0:
            return None
        else:
            raw = np.asarray(buffer.data, np.uint8)
        if dtype in PACKED_BITS:
            return _unpacked(raw, shape, PACKED_BITS[dtype])
        if sparsity is not None:
            return _dense(np.frombuffer(raw.tobytes(), np.dtype(dtype)), shape, sparsity)
        return np.frombuffer(raw.tobytes(), np.dtype(dtype)).reshape(shape)

    def op(self, packed: Any, named: Any) -> Op:
        code = self.packed.operatorCodes[packed.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in NAMES:
            raise InputError(f"holds an operator with code {number}, which is not known here")
        custom = packed.customOptions
        return Op(
            name=NAMES[number],
            inputs=named(packed.inputs),
            outputs=named(packed.outputs),
            options=_options(packed.builtinOptions),
            version=code.version,
            custom_code=_text(code.customCode),
            custom_options=b"" if custom is None else bytes(bytearray(custom)),
            intermediates=named(packed.intermediates),
        )

    def signature(self, packed: Any, subgraphs: tuple[Graph, ...]) -> Signature:
        tensors = list(subgraphs[packed.subgraphIndex].tensors)

        def mapped(entries: Any) -> dict[str, str]:
            return {_text(e.name): tensors[e.tensorIndex] for e in _sequence(entries)}

        return Signature(
            _text(packed.signatureKey), mapped(packed.inputs), mapped(packed.outputs), packed.subgraphIndex
        )


def _unique(names: list[str]) -> list[str]:
    seen: set[str] = set()
    result = []
    for index, name in enumerate(names):
        free = name or f"tensor_{index}"
        while free in seen:
            free = f"{free}:{index}"
        seen.add(free)
        result.append(free)
    return result


def _quant(name: str, packed: Any, rank: int) -> Quant | None:
    if packed is None or packed.scale is None or len(packed.scale) == 0:
        return None
    if packed.details is not None:
        raise InputError(f"holds tensor {name!r} with blockwise quantisation", "quantise per tensor or per channel")
    scales = tuple(float(s) for s in packed.scale)
    zero_points = tuple(int(z) for z in _sequence(packed.zeroPoint)) or (0,) * len(scales)
    # Of a row of numbers there is one dimension, whatever older converters wrote.
    return Quant(scales, zero_points, int(packed.quantizedDimension) if rank > 1 else 0)


def _options(packed: Any) -> dict[str, OptionValue]:
    if packed is None:
        return {}
    options: dict[str, OptionValue] = {}
    for attribute, value in vars(packed).items():
        name = _snake(attribute)
        if name in _ENUMS:
            options[name] = _ENUMS[name][value]
        elif isinstance(value, (np.ndarray, list, tuple)):
            options[name] = tuple(int(v) for v in value)
        elif isinstance(value, bytes):
            options[name] = value.decode()
        else:
            options[name] = value
    return options


def _unpacked(raw: npt.NDArray[np.uint8], shape: tuple[int, ...], bits: int) -> npt.NDArray[np.int8]:
    """Several elements per byte in two's complement, the first in the lowest bits."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    left = (raw[:, None] << (8 - bits - places)).astype(np.uint8).view(np.int8)
    return (left >> (8 - bits)).reshape(-1)[: int(np.prod(shape))].reshape(shape)


def _dense(stored: Array, shape: tuple[int, ...], sparsity: Any) -> Array:
    """All elements of a sparse constant, in the one form of :mod:`multigraft.tflite.checking.sparsity`."""
    rows = sparsity.dimMetadata[-1]
    counts = np.diff(np.asarray(rows.arraySegments.values, np.int64))
    value = np.zeros((int(np.prod(shape[:-1], dtype=np.int64)), shape[-1]), stored.dtype)
    value[np.repeat(np.arange(len(counts)), counts), np.asarray(rows.arrayIndices.values, np.int64)] = stored
    return value.reshape(shape)


def _packed(values: Array, bits: int) -> bytes:
    flat = values.reshape(-1).astype(np.uint8) & (2**bits - 1)
    each = 8 // bits
    flat = np.append(flat, np.zeros(-flat.size % each, np.uint8)).reshape(-1, each)
    content: Array = np.bitwise_or.reduce(flat << np.arange(0, 8, bits, dtype=np.uint8), axis=1)
    return content.astype(np.uint8).tobytes()


class _Writer:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.schema = _schema()
        self.codes: dict[tuple[str, int, str], int] = {}
        self.buffers: dict[bytes, int] = {b"": 0}

    def packed(self) -> Any:
        schema = self.schema
        subgraphs = [self.graph(g) for g in self.model.subgraphs]
        signatures = [self.signature(s) for s in self.model.signatures]
        return schema.ModelT(
            version=SCHEMA_VERSION,
            operatorCodes=[self.code(*key) for key in self.codes],
            subgraphs=subgraphs,
            description=self.model.description,
            buffers=[_AlignedBuffer(schema, content) for content in self.buffers],
            signatureDefs=signatures,
        )

    def graph(self, graph: Graph) -> Any:
        indices = {name: i for i, name in enumerate(graph.tensors)} | {"": -1}

        def numbered(names: tuple[str, ...]) -> list[int]:
            return [indices[n] for n in names]

        return self.schema.SubGraphT(
            tensors=[self.tensor(t) for t in graph.tensors.values()],
            inputs=numbered(graph.inputs),
            outputs=numbered(graph.outputs),
            operators=[self.op(op, numbered) for op in graph.ops],
            name=graph.name,
        )

    def tensor(self, tensor: Tensor) -> Any:
        content = b""
        if tensor.data is not None:
            bits = PACKED_BITS.get(tensor.dtype)
            content = _packed(tensor.data, bits) if bits else np.asarray(tensor.data, tensor.dtype).tobytes()
        quant = tensor.quant and self.schema.QuantizationParametersT(
            scale=np.array(tensor.quant.scales, np.float32),  # as arrays they are packed in one go
            zeroPoint=np.array(tensor.quant.zero_points, np.int64),
            quantizedDimension=tensor.quant.axis,
        )
        return self.schema.TensorT(
            shape=list(tensor.shape),
            type=TENSOR_TYPES[tensor.dtype],
            buffer=self.buffers.setdefault(content, len(self.buffers)),
            name=tensor.name,
            quantization=quant,
            hasRank=True,
            isVariable=tensor.is_variable,
        )

    def op(self, op: Op, numbered: Any) -> Any:
        key = (op.name, op.version, op.custom_code)
        packed = self.schema.OperatorT(
            opcodeIndex=self.codes.setdefault(key, len(self.codes)),
            inputs=numbered(op.inputs),
            outputs=numbered(op.outputs),
            intermediates=numbered(op.intermediates) or None,
        )
        options_class = OPERATORS[op.name][1]
        if options_class:
            packed.builtinOptionsType = getattr(self.schema.BuiltinOptions, options_class)
            packed.builtinOptions = _pack_options(getattr(self.schema, f"{options_class}T")(), op)
        if op.custom_options:
            packed.customOptions = np.frombuffer(op.custom_options, np.uint8)
        return packed

    def code(self, name: str, version: int, custom_code: str) -> Any:
        number = OPERATORS[name][0]
        return self.schema.OperatorCodeT(
            deprecatedBuiltinCode=min(number, _LAST_OLD_CODE),
            customCode=custom_code or None,
            version=version,
            builtinCode=number,
        )

    def signature(self, signature: Signature) -> Any:
        indices = {name: i for i, name in enumerate(self.model.subgraphs[signature.subgraph].tensors)}

        def mapped(arguments: Any) -> list[Any]:
            return [self.schema.TensorMapT(name=a, tensorIndex=indices[t]) for a, t in arguments.items()]

        return self.schema.SignatureDefT(
            inputs=mapped(signature.inputs),
            outputs=mapped(signature.outputs),
            signatureKey=signature.name,
            subgraphIndex=signature.subgraph,
        )


def _pack_options(packed: Any, op: Op) -> Any:
    attributes = {_snake(a): a for a in vars(packed)}
    for name, value in op.options.items():
        if name not in attributes:
            raise InputError(f"operator {op.name} has no option {name!r}", f"choose from: {', '.join(attributes)}")
        if name in _ENUMS:
            value = _ENUMS[name].index(str(value))
        setattr(packed, attributes[name], list(value) if isinstance(value, tuple) else value)
    return packed


class _AlignedBuffer:
    """Packs a buffer at a multiple of 16 bytes, which the generated code does not."""

    def __init__(self, schema: Any, content: bytes) -> None:
        self.schema = schema
        self.content = content

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - called by the generated code
        vector = None
        if self.content:
            builder.StartVector(1, len(self.content), ALIGNMENT)
            builder.head -= len(self.content)
            builder.Bytes[builder.head : builder.head + len(self.content)] = self.content
            vector = builder.EndVector()
        self.schema.BufferStart(builder)
        if vector is not None:
            self.schema.BufferAddData(builder, vector)
        return self.schema.BufferEnd(builder)
