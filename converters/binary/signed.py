"""Tensors of a float graph that hold nothing but -s and s, and their packed counterparts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from multigraft.converters.binary.binary_op import binary_op
from multigraft.converters.conversion.rewriting import free_name, int32
from multigraft.tflite.graph import Graph, Op, Tensor
from multigraft.tflite.words import words_of

_MOVES_NAMES = "RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE STRIDED_SLICE SLICE SPACE_TO_DEPTH DEPTH_TO_SPACE GATHER"
_MOVES = frozenset(_MOVES_NAMES.split())
WORD = 32


def sign_source(graph: Graph, tensor: str) -> str | None:
    """What ``tensor`` is the sign of, as :mod:`multigraft.converters.binary.signs` writes it; None if it is not."""
    last = graph.producer(tensor)
    added = graph.producer(last.inputs[0]) if last is not None and last.name == "SIGN" else None
    if added is None or added.name != "ADD":
        return None
    for value, other in (added.inputs, added.inputs[::-1]):
        number, first = graph.constant(value), graph.producer(other)
        if number is not None and first is not None and first.name == "SIGN" and np.all((number > 0) & (number < 1)):
            return first.inputs[0]
    return None


def step_size(graph: Graph, tensor: str) -> float | None:
    """The s of a tensor of -s and s, negative where it is turned over; None for others."""
    op = graph.producer(tensor)
    if sign_source(graph, tensor) is not None:
        return 1.0
    if op is None:
        return None
    if op.name in _MOVES or (op.name == "MAX_POOL_2D" and not _is_activated(op)):
        return step_size(graph, op.inputs[0])
    if op.name == "CONCATENATION" and not _is_activated(op):
        sizes = {step_size(graph, name) for name in op.inputs}
        return sizes.pop() if len(sizes) == 1 else None
    if op.name == "MUL" and (scaled := _scaled(graph, op)) is not None:
        size = step_size(graph, scaled[0])
        return None if size is None else size * scaled[1]
    if op.name == "PADV2":
        size, value = step_size(graph, op.inputs[0]), graph.constant(op.inputs[2])
        return (
            size if size is not None and value is not None and abs(float(value.reshape(-1)[0])) == abs(size) else None
        )
    return None


def _is_activated(op: Op) -> bool:
    return op.options.get("fused_activation_function", "NONE") != "NONE"


def _scaled(graph: Graph, op: Op) -> tuple[str, float] | None:
    """The data of a product with one number that is not 0, and the number."""
    for data, factor in (op.inputs, op.inputs[::-1]):
        number = graph.constant(factor)
        if number is not None and number.size == 1 and graph.constant(data) is None and not _is_activated(op):
            value = float(number.reshape(-1)[0])
            return (data, value) if value and np.isfinite(value) else None
    return None


class Packing:
    """Packs tensors of a graph once each.

    Attributes:
        tensors: What was added.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.tensors: dict[str, Tensor] = {}
        self._waiting: list[Op] = []
        self._done: dict[str, tuple[str, float]] = {}

    def taken(self) -> list[Op]:
        """The operators that were added since the last call, in order."""
        ops, self._waiting = self._waiting, []
        return ops

    def add(self, wish: str, shape: tuple[int, ...], dtype: str = "int32") -> str:
        """A new tensor's name."""
        name = self.free(wish)
        self.tensors[name] = Tensor(name, shape, dtype)
        return name

    def free(self, wish: str) -> str:
        """A name that no tensor has."""
        return free_name(dataclasses.replace(self._graph, tensors={**self._graph.tensors, **self.tensors}), wish)

    def constant(self, tensor: Tensor) -> str:
        """``tensor`` under a name that is free."""
        name = self.free(tensor.name)
        self.tensors[name] = dataclasses.replace(tensor, name=name)
        return name

    def emit(self, op: Op) -> str:
        """Add an operator; returns what it writes."""
        self._waiting.append(op)
        return op.outputs[0]

    def packed(self, tensor: str) -> tuple[str, float]:
        """The packed signs of a tensor of -s and s, and its s, which is negative where they are turned over."""
        if tensor not in self._done:
            self._done[tensor] = self._packed(tensor)
        return self._done[tensor]

    def _packed(self, tensor: str) -> tuple[str, float]:
        graph, size = self._graph, step_size(self._graph, tensor)
        assert size is not None, tensor
        op, shape = graph.producer(tensor), graph.tensors[tensor].shape
        assert op is not None, tensor
        if (source := sign_source(graph, tensor)) is not None:
            return self.quantized(source), 1.0
        if op.name == "MUL" and (scaled := _scaled(graph, op)) is not None:
            inner, size = self.packed(scaled[0])
            return inner, size * scaled[1]
        if op.name == "MAX_POOL_2D" and size > 0:
            return self._pooled(op, shape), size
        if op.name == "RESHAPE" and are_whole_words(graph.tensors[op.inputs[0]].shape, shape):
            inner, size = self.packed(op.inputs[0])
            return self.reshaped(inner, packed_shape(shape)), size
        if op.name == "PADV2" and (inner := self._padded(op, shape, size)):
            return inner, size
        if (moved := self._moved(tensor)) is not None:
            return self.quantized(moved), 1.0
        return self.quantized(tensor), abs(size)

    def quantized(self, tensor: str) -> str:
        """LceQuantize of a float tensor, or of the integers that it is read from."""
        shape = {**self._graph.tensors, **self.tensors}[tensor].shape
        name = self.add(f"{tensor}/packed", packed_shape(shape))
        return self.emit(binary_op("LceQuantize", (tensor,), name))

    def reshaped(self, tensor: str, shape: tuple[int, ...]) -> str:
        """RESHAPE of a packed tensor."""
        target = self.constant(int32(f"{tensor}/shape", shape))
        name = self.add(f"{tensor}/reshaped", shape)
        return self.emit(Op("RESHAPE", (tensor, target), (name,), {"new_shape": shape}))

    def _pooled(self, op: Op, shape: tuple[int, ...]) -> str:
        inner, _ = self.packed(op.inputs[0])
        return self.emit(pool_op(op, inner, self.add(f"{op.outputs[0]}/packed", packed_shape(shape))))

    def _padded(self, op: Op, shape: tuple[int, ...], size: float) -> str:
        pads, value = self._graph.constant(op.inputs[1]), self._graph.constant(op.inputs[2])
        assert value is not None
        if pads is None or pads.reshape(-1, 2)[-1].any() or float(value.reshape(-1)[0]) != size:
            return ""
        inner, _ = self.packed(op.inputs[0])
        return self.ones_around(inner, op.inputs[1], packed_shape(shape))

    def ones_around(self, tensor: str, pads: str, shape: tuple[int, ...]) -> str:
        """A packed tensor with 1, whose bit is 0, around it."""
        return self.emit(Op("PAD", (tensor, pads), (self.add(f"{tensor}/padded", shape),)))

    def _moved(self, tensor: str) -> str | None:
        """What ``tensor`` is the sign of, where it is the sign of something that was moved afterwards."""
        op = self._graph.producer(tensor)
        if (source := sign_source(self._graph, tensor)) is not None or op is None or op.name not in _MOVES:
            return source
        before = self._moved(op.inputs[0])
        if before is None:
            return None
        name = self.add(f"{tensor}/before_sign", self._graph.tensors[tensor].shape, "float32")
        return self.emit(dataclasses.replace(op, inputs=(before, *op.inputs[1:]), outputs=(name,)))


def packed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of the words of a tensor."""
    return (*shape[:-1], words_of(shape[-1]))


def are_whole_words(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a change of shape leaves the words as they are."""
    return before[-1] == after[-1] or (before[-1] % WORD == 0 and after[-1] % WORD == 0)


def pool_op(op: Op, source: str, output: str) -> Op:
    """LceBMaxPool2d in place of MAX_POOL_2D."""
    get: Mapping[str, object] = op.options
    numbers = {
        "filter_height": "filter_height",
        "filter_width": "filter_width",
        "stride_height": "stride_h",
        "stride_width": "stride_w",
    }
    options = {key: int(str(get[name])) for key, name in numbers.items()}
    return binary_op("LceBMaxPool2d", (source,), output, padding=int(get.get("padding") == "VALID"), **options)
