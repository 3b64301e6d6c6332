"""A .tflite file as the interpreter will see it: tables, numbers and places, each within the file.

Field numbers are those of tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigraft.tflite.checking.flatbuffer import DamagedError, Flatbuffer, Table
from multigraft.tflite.checking.flexbuffer import LONGEST, whole_numbers
from multigraft.tflite.checking.options import OPTIONS
from multigraft.tflite.checking.sparsity import FIELDS, stored_elements
from multigraft.tflite.operators import BINARY, NAMES, OPERATORS

_BITS: dict[int, tuple[str, int]] = {
    0: ("float32", 32), 1: ("float16", 16), 2: ("int32", 32), 3: ("uint8", 8), 4: ("int64", 64), 6: ("bool", 8),
    7: ("int16", 16), 8: ("complex64", 64), 9: ("int8", 8), 10: ("float64", 64), 11: ("complex128", 128),
    12: ("uint64", 64), 13: ("resource", 0), 15: ("uint32", 32), 16: ("uint16", 16), 17: ("int4", 4),
    18: ("bfloat16", 16), 19: ("int2", 2),
}  # fmt: skip
"""Element type to its name and bits; texts (5) and variants (14) hold places of their own and are refused."""

MAX_RANK = 8
"""Of a tensor: more than any kernel of the interpreters takes."""
LARGEST_TENSOR = 1 << 30
"""Bytes."""
LARGEST_GRAPH = 1 << 31
"""Bytes of all tensors of a subgraph that are not constants."""

_MODEL, _CODE, _SUBGRAPH, _TENSOR, _QUANTIZATION, _OPERATOR, _BUFFER = 10, 4, 6, 11, 7, 14, 3
_METADATA, _SIGNATURE, _ARGUMENT = 2, 5, 2
_CODE_IN_SECOND_FIELD = 127


@dataclass(frozen=True)
class Buffer:
    """Where constant content lies: position and size in bytes; size 0 is no content."""

    position: int
    size: int


@dataclass(frozen=True)
class Tensor:
    """A tensor.

    Attributes:
        number: In its subgraph.
        shape: Static shape.
        dtype: Name of the element type.
        size: Bytes.
        buffer: Its constant content, size 0 if it has none.
        scales: One, or one per channel; empty if it is not quantised.
        zero_points: As many.
        axis: The channel axis.
        is_variable: Keeps its value from run to run.
        is_sparse: Its content holds some of its elements only.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str
    size: int
    buffer: Buffer
    scales: Sequence[float]
    zero_points: tuple[int, ...]
    axis: int
    is_variable: bool
    is_sparse: bool = False

    @property
    def is_constant(self) -> bool:
        """It has content, or has no element."""
        return self.buffer.size > 0 or (self.size == 0 and self.dtype != "resource")


@dataclass(frozen=True)
class Operator:
    """An operator; an absent optional input is None.

    Attributes:
        name: A custom operator's own name where it has one.
    """

    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    intermediates: tuple[Tensor, ...]
    options: Mapping[Any, Any]
    """Field number, or name in a custom operator's options, to its value, where the file holds one."""
    is_custom: bool = False


@dataclass(frozen=True)
class Subgraph:
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Signature:
    name: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Contents:
    """All of the file that an interpreter acts on."""

    source: Flatbuffer = field(repr=False)
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]


def read(data: bytes | mmap.mmap) -> Contents:
    """Read a whole file.

    Raises:
        DamagedError: A part lies outside of it, or a number refers to nothing.
    """
    source = Flatbuffer(data)
    root = source.root(_MODEL)
    if root.has(8) or root.has(9):
        raise DamagedError("it keeps weights in other files")
    codes = [_code(table) for table in root.tables(1, _CODE)]
    buffers = [_buffer(source, table) for table in root.tables(4, _BUFFER)]
    subgraphs = tuple(_Subgraphs(codes, buffers).read(table) for table in root.tables(2, _SUBGRAPH))
    if not subgraphs:
        raise DamagedError("it holds no subgraph")
    root.text(3)
    _refer(root.numbers(5, "i"), len(buffers), "buffer")
    for metadata in root.tables(6, _METADATA):
        metadata.text(0)
        _refer((metadata.number(1, "I"),), len(buffers), "buffer")
    edges = [(frozenset(s.inputs), frozenset(s.outputs)) for s in subgraphs]
    signatures = tuple(_signature(table, edges) for table in root.tables(7, _SIGNATURE))
    if len({s.name for s in signatures}) != len(signatures):
        raise DamagedError("two signatures have one name")
    return Contents(source, subgraphs, signatures)


def _refer(numbers: tuple[int, ...], count: int, what: str, least: int = 0) -> None:
    for number in numbers:
        if not least <= number < count:
            raise DamagedError(f"it refers to {what} {number} and has {count}")


def _code(table: Table) -> tuple[str, int, str]:
    old, new = table.number(0, "b"), table.number(3, "i")
    custom = table.text(1)
    code = max(old, new)
    if old < 0 or (new and old not in (new, _CODE_IN_SECOND_FIELD, 0)) or code not in NAMES:
        raise DamagedError(f"it holds an operator with code {code}, which is not known here")
    return NAMES[code], int(table.number(2, "i", 1)), (custom or "") if NAMES[code] == "CUSTOM" else ""


def _buffer(source: Flatbuffer, table: Table) -> Buffer:
    place, count = table.vector(0, "B")
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset > 1:
        # Large content lies behind the flatbuffer proper, at an offset from the beginning of the file.
        source.within(offset, size)
        return Buffer(offset, size)
    return Buffer(place, count)


def _shape(table: Table, number: int) -> tuple[int, ...]:
    shape: tuple[int, ...] = table.numbers(0, "i")
    signature = table.numbers(7, "i")
    if len(shape) > MAX_RANK or min(shape, default=0) < 0:
        raise DamagedError(f"tensor {number} has shape {list(shape[:MAX_RANK])}, which is not static")
    if signature and (len(signature) != len(shape) or min(signature) < -1):
        raise DamagedError(f"tensor {number} has two shapes")
    return shape


def _quantisation(table: Table, shape: tuple[int, ...], number: int) -> tuple[Any, Any, int]:
    held = table.table(4, _QUANTIZATION)
    if held is None:
        return (), (), 0
    for place in (0, 1):
        held.floats(place)
    scales, zero_points = held.floats(2), held.numbers(3, "q")
    # Of a row of numbers there is one dimension, and older converters wrote that of the weights a bias belongs to.
    axis = held.number(6, "i") if len(shape) > 1 else 0
    if held.number(4, "B"):
        raise DamagedError(f"tensor {number} is quantised by blocks")
    if not scales:
        return (), (), 0
    if zero_points and len(zero_points) not in (1, len(scales)):
        raise DamagedError(f"tensor {number} has {len(scales)} scales and {len(zero_points)} zero points")
    if len(scales) > 1 and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
        raise DamagedError(f"tensor {number} has {len(scales)} scales, which do not fit its shape {list(shape)}")
    if not 0 <= axis < max(len(shape), 1):
        raise DamagedError(f"tensor {number} is quantised along dimension {axis}, which it does not have")
    if not all(math.isfinite(scale) and scale >= 0 for scale in scales):
        raise DamagedError(f"tensor {number} has a scale that is no positive number")
    return scales, zero_points or (0,) * len(scales), axis


class _Subgraphs:
    def __init__(self, codes: list[tuple[str, int, str]], buffers: list[Buffer]) -> None:
        self._codes = codes
        self._buffers = buffers

    def read(self, table: Table) -> Subgraph:
        tensors = tuple(self._tensor(number, held) for number, held in enumerate(table.tables(0, _TENSOR)))
        inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
        _refer((*inputs, *outputs), len(tensors), "tensor")
        operators = tuple(self._operator(held, tensors) for held in table.tables(3, _OPERATOR))
        table.text(4)
        if sum(tensor.size for tensor in tensors if not tensor.buffer.size) > LARGEST_GRAPH:
            raise DamagedError(f"its tensors take more than {LARGEST_GRAPH >> 20} MiB")
        return Subgraph(tensors, inputs, outputs, operators)

    def _tensor(self, number: int, table: Table) -> Tensor:
        shape = _shape(table, number)
        kind = table.number(1, "b")
        if kind not in _BITS:
            raise DamagedError(f"tensor {number} has element type {kind}, which is not known here")
        dtype, bits = _BITS[kind]
        table.text(3)
        if table.has(9) or table.number(10, "I"):
            raise DamagedError(f"tensor {number} is a variant or in another file")
        size = (math.prod(shape) * bits + 7) // 8
        if size > LARGEST_TENSOR:
            raise DamagedError(f"tensor {number} takes {size} bytes")
        place = table.number(2, "I")
        _refer((place,), len(self._buffers), "buffer")
        buffer = self._buffers[place]
        sparsity = table.table(6, FIELDS)
        content = size if sparsity is None else stored_elements(sparsity, shape, number) * bits // 8
        if (buffer.size or sparsity) and buffer.size != content:
            raise DamagedError(f"tensor {number} takes {content} bytes and its content has {buffer.size}")
        is_variable = bool(table.number(5, "B"))
        if is_variable and buffer.size:
            raise DamagedError(f"tensor {number} is a variable with constant content")
        scales, zero_points, axis = _quantisation(table, shape, number)
        is_sparse = sparsity is not None
        return Tensor(number, shape, dtype, size, buffer, scales, zero_points, axis, is_variable, is_sparse)

    def _operator(self, table: Table, tensors: tuple[Tensor, ...]) -> Operator:
        code = table.number(0, "I")
        _refer((code,), len(self._codes), "operator code")
        name, version, custom = self._codes[code]
        inputs, outputs, between = table.numbers(1, "i"), table.numbers(2, "i"), table.numbers(8, "i")
        _refer(inputs, len(tensors), "tensor", least=-1)
        _refer((*outputs, *between), len(tensors), "tensor")
        if len(set(outputs)) != len(outputs):
            raise DamagedError(f"a {name} writes one tensor twice")
        for place in (5, 7):
            table.numbers(place, "B")
        if table.number(9, "Q") or table.number(10, "Q") or table.number(11, "B"):
            raise DamagedError(f"a {name} has options in another place")
        return Operator(
            custom or name,
            version,
            tuple(None if i < 0 else tensors[i] for i in inputs),
            tuple(tensors[i] for i in outputs),
            tuple(tensors[i] for i in between),
            # Others write what they like there: a packed struct, for one.
            self._binary_options(table) if custom in BINARY else self._options(table, name),
            bool(custom),
        )

    def _binary_options(self, table: Table) -> Mapping[str, int]:
        count = len(table.numbers(5, "B"))
        if count > LONGEST:
            raise DamagedError("the options of a custom operator are too long")
        return whole_numbers(bytes(table.numbers(5, "B")))

    def _options(self, table: Table, name: str) -> Mapping[int, Any]:
        kind = OPERATORS[name][1]
        given = table.number(3, "B")
        if not given:
            return {}
        number, layout = OPTIONS.get(kind, (0, ""))
        if given != number:
            raise DamagedError(f"a {name} has options of another operator")
        kinds = layout.split()
        held = table.table(4, len(kinds))
        if held is None:
            raise DamagedError(f"a {name} names options and has none")
        values: dict[int, Any] = {}
        for place, code in enumerate(kinds):
            if held.has(place):
                if code == "s":
                    values[place] = held.text(place)
                elif code[0] == "v":
                    values[place] = held.numbers(place, code[1])
                elif code != "-":
                    values[place] = held.number(place, "B" if code == "?" else code)
        return values


def _signature(table: Table, edges: list[tuple[frozenset[int], frozenset[int]]]) -> Signature:
    number = table.number(4, "I")
    _refer((number,), len(edges), "subgraph")
    name = table.text(2)
    if not name:
        raise DamagedError("a signature has no name")
    sides = []
    for place, allowed in enumerate(edges[number]):
        arguments = []
        for argument in table.tables(place, _ARGUMENT):
            called, tensor = argument.text(0), argument.number(1, "I")
            if called is None or tensor not in allowed:
                raise DamagedError(f"signature {name!r} names a tensor that its subgraph does not give")
            arguments.append((called, tensor))
        if len({called for called, _ in arguments}) != len(arguments):
            raise DamagedError(f"signature {name!r} has two arguments of one name")
        sides.append(tuple(arguments))
    return Signature(name, number, sides[0], sides[1])
