"""A .tflite file as plain values: :class:`Model`, :class:`Graph`, :class:`Op`, :class:`Tensor`, :class:`Quant`.

Everything is frozen and can be written as a literal. Tensors are referred to by name, which is unique within a graph.
:mod:`multigraft.tflite.tflite_file` reads and writes the file; a rewrite is a function from one graph to another.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from multigraft.tensors.arrays import Array
from multigraft.tflite.operators import PACKED_BITS

OptionValue = bool | int | float | str | tuple[int, ...] | None


@dataclass(frozen=True)
class Quant:
    """Affine quantisation: ``real = scale * (stored - zero_point)``.

    Attributes:
        scales: One scale, or one per channel.
        zero_points: One per scale.
        axis: The channel axis where there are several.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...] = (0,)
    axis: int = 0

    @property
    def per_tensor(self) -> bool:
        return len(self.scales) == 1


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: Unique within the graph.
        shape: Static shape; an unknown dimension reads as 1, as in the file.
        dtype: A key of :data:`multigraft.tflite.operators.TENSOR_TYPES`.
        quant: None where the elements stand for themselves.
        data: The value of a constant in ``shape``; elements of 4 and 2 bits are held one per int8. None for what is
            computed.
        is_variable: Its value is kept from run to run, as the states of LSTM and SVDF are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    quant: Quant | None = None
    data: Array | None = field(default=None, compare=False, repr=False)
    is_variable: bool = False

    @property
    def stored_bytes(self) -> int:
        """Bytes this tensor takes in memory or in the file."""
        elements = int(np.prod(self.shape, dtype=np.int64))
        if self.dtype == "resource":
            return 0  # the handle of a variable
        if self.dtype in PACKED_BITS:
            return (elements * PACKED_BITS[self.dtype] + 7) // 8
        return elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Op:
    """One operator.

    Attributes:
        name: A key of :data:`multigraft.tflite.operators.OPERATORS`.
        inputs: Tensor names; an optional input that is absent is the empty string.
        outputs: Tensor names.
        options: Fields of the options table in snake case (``stride_w``); ``padding`` and
            ``fused_activation_function`` are names, the rest as in the file. Absent fields take the schema's default.
        version: Operator version.
        custom_code: Name of a custom operator.
        custom_options: Its options as stored.
        intermediates: Tensors that are never stored, whose quantisation its kernel works with inside (LSTM).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    version: int = 1
    custom_code: str = ""
    custom_options: bytes = b""
    intermediates: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What people call it: the operator name, or the custom operator's own."""
        return self.custom_code or self.name

    def with_options(self, **changes: OptionValue) -> Op:
        """The same operator with some options changed."""
        return dataclasses.replace(self, options={**self.options, **changes})


@dataclass(frozen=True)
class Graph:
    """One subgraph: operators in an order in which they can run."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, name: str, inputs: Iterable[str], outputs: Iterable[str], ops: Iterable[Op], tensors: Iterable[Tensor]
    ) -> Graph:
        """Make a graph from its tensors in a row."""
        return cls(name, tuple(inputs), tuple(outputs), tuple(ops), {t.name: t for t in tensors})

    def producer(self, tensor: str) -> Op | None:
        """The operator that writes ``tensor``; None for inputs and constants."""
        return self._writers.get(tensor)

    def producers(self) -> dict[str, Op]:
        """Tensor name to the operator that writes it."""
        return dict(self._writers)

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        """The operators that read ``tensor``."""
        return self._readers.get(tensor, ())

    @functools.cached_property
    def _writers(self) -> dict[str, Op]:
        return {name: op for op in reversed(self.ops) for name in op.outputs}

    @functools.cached_property
    def _readers(self) -> dict[str, tuple[Op, ...]]:
        readers: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                readers.setdefault(name, []).append(op)
        return {name: tuple(ops) for name, ops in readers.items()}

    def constant(self, tensor: str) -> Array | None:
        """The value of a constant; None if ``tensor`` is absent or computed."""
        return self.tensors[tensor].data if tensor in self.tensors else None

    def operator_counts(self) -> dict[str, int]:
        """How many operators of each kind there are, by label."""
        return dict(sorted(Counter(op.label for op in self.ops).items()))

    def weights_bytes(self) -> int:
        """Bytes of all constants that operators read; equal constants are counted once, as they are stored once."""
        seen = {}
        for name in {name for op in self.ops for name in op.inputs}:
            tensor = self.tensors.get(name)
            if tensor is not None and tensor.data is not None:
                seen[tensor.dtype, tensor.data.tobytes()] = tensor.stored_bytes
        return sum(seen.values())


@dataclass(frozen=True)
class Signature:
    """A named entry point: argument names to tensors of one subgraph."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    subgraph: int = 0


@dataclass(frozen=True)
class Model:
    """All of a .tflite file."""

    subgraphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...] = ()
    description: str = ""

    @property
    def main(self) -> Graph:
        """The first subgraph."""
        return self.subgraphs[0]
