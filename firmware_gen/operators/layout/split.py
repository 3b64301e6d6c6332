"""SPLIT, SPLIT_V and UNPACK."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import copy_function, copy_loops, strides_of
from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_AXIS_AT = {"SPLIT": 0, "SPLIT_V": 2}
"""Operator to its input that holds the axis."""


def _source_at(node: Node) -> int:
    """Which input is divided: SPLIT has its axis in front of it."""
    return 1 if node.name == "SPLIT" else 0


def _axis(node: Node) -> int | None:
    """The axis that is divided, not negative; None if it is none of the input's."""
    if node.name == "UNPACK":
        axis = integer(node.op.options.get("axis"))
    else:
        given = node.input(_AXIS_AT[node.name]).data
        if given is None or given.dtype.kind != "i" or given.size != 1:
            return None
        axis = int(given.reshape(-1)[0])
    rank = len(node.input(_source_at(node)).shape)
    axis = axis + rank if axis < 0 else axis
    return axis if 0 <= axis < rank <= 6 else None


def _sizes(node: Node) -> list[int]:
    """How much of the axis each output takes: what is left of the shape when the other axes are taken off."""
    axis = _axis(node)
    assert axis is not None
    if node.name == "UNPACK":
        return [1] * len(node.outputs)
    return [t.shape[axis] if axis < len(t.shape) else 0 for t in node.outputs]


def _types(node: Node) -> bool:
    """What is divided and the parts have to be int8 with the same scale and zero point."""
    source = node.input(_source_at(node))
    return is_int8(source) and all((t.dtype, t.quant) == (source.dtype, source.quant) for t in node.outputs)


def _fits(node: Node) -> bool:
    """The axis has to be constant and one of the input's, of which there are at most 6, and the parts have to fit."""
    axis = _axis(node)
    if axis is None:
        return False
    shape = node.input(_source_at(node)).shape
    parts = [list(shape) for _ in node.outputs]
    for part, size in zip(parts, _sizes(node), strict=True):
        part[axis : axis + 1] = [] if node.name == "UNPACK" else [size]
    return sum(_sizes(node)) == shape[axis] and all(
        tuple(part) == t.shape for part, t in zip(parts, node.outputs, strict=True)
    )


class Split(Operator):
    """SPLIT, SPLIT_V and UNPACK: a copy per part."""

    names = ("SPLIT", "SPLIT_V", "UNPACK")
    summary = "int8, any constant axis; a copy per part"
    constraints = (_types, _fits)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return self.references(node, inputs)[0]

    def references(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        source, axis = inputs[_source_at(node)], _axis(node)
        assert source is not None and axis is not None
        parts = np.split(source, np.cumsum(_sizes(node))[:-1].tolist(), axis=axis)
        return tuple(part.reshape(t.shape) for part, t in zip(parts, node.outputs, strict=True))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        position, axis = _source_at(node), _axis(node)
        assert axis is not None
        shape = node.input(position).shape
        strides = strides_of(shape)
        functions, calls, first = {}, [], 0
        for index, size in enumerate(_sizes(node)):
            part = [*shape[:axis], size, *shape[axis + 1 :]]
            body = copy_loops(part, strides_of(part), strides)
            name = f"part_{digest(body)}"
            functions[name] = copy_function(name, body)
            calls.append((name, first * strides[axis], index))
            first += size

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return " ".join(f"{name}({ins[position]} + {at}, {outs[index]});" for name, at, index in calls)

        return Kernel(call, (), functions)
