"""Lets transposes meet their inverses: a converter puts them around every fragment that it leaves channel-first.

Every rule takes a float graph and returns one that computes the same, or the very same object if it found nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.rewriting import bypass, free_name, int32, prune, replace_op
from multigraft.tflite.graph import Graph, Op, Tensor

Permutation = tuple[int, ...]

UNARY = frozenset(
    {
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "LEAKY_RELU",
        "ELU",
        "SIGN",
        "TANH",
        "LOGISTIC",
        "HARD_SWISH",
        "GELU",
        "ABS",
        "NEG",
        "EXP",
        "LOG",
        "SQRT",
        "RSQRT",
        "SQUARE",
        "FLOOR",
        "CEIL",
        "ROUND",
        "SIN",
        "COS",
        "CAST",
        "QUANTIZE",
        "DEQUANTIZE",
    }
)
BROADCASTING = frozenset(["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW"])
REDUCTIONS = frozenset(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])


def merge_transposes(graph: Graph) -> Graph:
    """Two transposes in a row become one; one that changes nothing disappears."""
    for op in graph.ops:
        permutation = permutation_of(graph, op)
        if permutation is None:
            continue
        if permutation == tuple(range(len(permutation))):
            if (shorter := bypass(graph, op)) is not None:
                return shorter
            continue
        first = graph.producer(op.inputs[0])
        inner = permutation_of(graph, first) if first else None
        if first is not None and inner is not None:
            both = int32(free_name(graph, f"{op.outputs[0]}/perm"), (inner[p] for p in permutation))
            merged = dataclasses.replace(op, inputs=(first.inputs[0], both.name))
            return prune(replace_op(graph, op, [merged], [both]))
    return graph


def sink_transposes(graph: Graph) -> Graph:
    """A transpose before an operator that works in any layout moves behind it, where it may meet its inverse."""
    for op in graph.ops:
        moved = _MOVED.get(op.name)
        if moved is None:
            continue
        permutations = {_incoming(graph, name) for name in op.inputs if name and graph.constant(name) is None}
        permutation = permutations.pop() if len(permutations) == 1 else None
        if permutation is None:
            continue
        before = moved(graph, op, permutation)
        if before is not None:
            return _behind(graph, op, permutation, before)
    return graph


@dataclass
class _Untransposed:
    """An operator as it is before the transposes of its inputs.

    Attributes:
        constants: Position of an input to its new value.
        options: Those that change.
    """

    constants: dict[int, npt.NDArray[Any]] = field(default_factory=dict)
    options: dict[str, int] = field(default_factory=dict)


def _behind(graph: Graph, op: Op, permutation: Permutation, before: _Untransposed) -> Graph:
    inverse = np.argsort(permutation)
    inputs, added = [], []
    for position, name in enumerate(op.inputs):
        if position in before.constants:
            free = free_name(graph, f"{op.outputs[0]}/untransposed{position}")
            data = np.ascontiguousarray(before.constants[position])
            added.append(Tensor(free, data.shape, graph.tensors[name].dtype, data=data))
            inputs.append(free)
        elif name and graph.constant(name) is None:
            transpose = graph.producer(name)
            assert transpose is not None
            inputs.append(transpose.inputs[0])
        else:
            inputs.append(name)
    perm = int32(free_name(graph, f"{op.outputs[0]}/perm"), permutation)
    inner, behind = [], []
    for output in op.outputs:
        result = graph.tensors[output]
        shape = tuple(result.shape[i] for i in inverse)
        inner.append(dataclasses.replace(result, name=free_name(graph, f"{output}/untransposed"), shape=shape))
        behind.append(Op("TRANSPOSE", (inner[-1].name, perm.name), (output,)))
    computed = dataclasses.replace(op, inputs=tuple(inputs), outputs=tuple(t.name for t in inner))
    computed = dataclasses.replace(computed, options={**op.options, **before.options})
    return prune(replace_op(graph, op, [computed, *behind], [*added, *inner, perm]))


def _elementwise(graph: Graph, op: Op, permutation: Permutation) -> _Untransposed | None:
    """Constants that are broadcast are turned the other way."""
    before = _Untransposed()
    for position, name in enumerate(op.inputs):
        value = graph.constant(name)
        if value is None or value.size == 1:
            continue
        if value.ndim > len(permutation):
            return None
        full = value.reshape((1,) * (len(permutation) - value.ndim) + value.shape)
        before.constants[position] = full.transpose(np.argsort(permutation))
    return before


def _concatenation(graph: Graph, op: Op, permutation: Permutation) -> _Untransposed | None:
    before, axis = _elementwise(graph, op, permutation), op.options.get("axis")
    assert isinstance(axis, int)
    if before is not None:
        before.options["axis"] = permutation[axis % len(permutation)]
    return before


def _padding(graph: Graph, op: Op, permutation: Permutation) -> _Untransposed | None:
    amounts = graph.constant(op.inputs[1])
    return None if amounts is None else _Untransposed({1: amounts[np.argsort(permutation)]})


def _slice(graph: Graph, op: Op, permutation: Permutation) -> _Untransposed | None:
    """Begin, size or end, and strides have one number an axis; masks one bit."""
    inverse = [int(i) for i in np.argsort(permutation)]
    before = _Untransposed()
    for position, name in enumerate(op.inputs[1:], 1):
        value = graph.constant(name)
        if value is None or value.shape != (len(permutation),):
            return None
        before.constants[position] = value[inverse]
    if any(op.options.get(f"{name}_mask") for name in ("ellipsis", "new_axis", "shrink_axis")):
        return None
    for mask in ("begin_mask", "end_mask"):
        bits = op.options.get(mask, 0)
        assert isinstance(bits, int)
        if bits:
            before.options[mask] = sum(1 << new for new, old in enumerate(inverse) if bits >> old & 1)
    return before


def _split(graph: Graph, op: Op, permutation: Permutation) -> _Untransposed | None:
    """The axis is the first input of SPLIT, the last of SPLIT_V."""
    position = 0 if op.name == "SPLIT" else 2
    axis = graph.constant(op.inputs[position])
    if axis is None:
        return None
    moved = np.full(axis.shape, permutation[int(axis.reshape(-1)[0]) % len(permutation)], axis.dtype)
    return _Untransposed({position: moved})


_SINKABLE: Mapping[Callable[[Graph, Op, Permutation], _Untransposed | None], tuple[str, ...]] = {
    _elementwise: (*UNARY, *BROADCASTING, "PRELU"),
    _concatenation: ("CONCATENATION",),
    _padding: ("PAD", "PADV2", "MIRROR_PAD"),
    _slice: ("SLICE", "STRIDED_SLICE"),
    _split: ("SPLIT", "SPLIT_V"),
}
_MOVED = {kind: moved for moved, kinds in _SINKABLE.items() for kind in kinds}


def fold_transpose_into_reduction(graph: Graph) -> Graph:
    """A transpose before a reduction disappears into the axes."""
    for op in graph.ops:
        permutation = _incoming(graph, op.inputs[0]) if op.name in REDUCTIONS else None
        axes = graph.constant(op.inputs[1]) if permutation else None
        before = graph.producer(op.inputs[0])
        if permutation is None or axes is None or before is None:
            continue
        folded = tuple(permutation[int(a) % len(permutation)] for a in axes.reshape(-1))
        new_axes = int32(free_name(graph, f"{op.outputs[0]}/axes"), sorted(folded))
        reduced = dataclasses.replace(op, inputs=(before.inputs[0], new_axes.name))
        if op.options.get("keep_dims"):
            result = graph.tensors[op.outputs[0]]
            inverse = np.argsort(permutation)
            shape = tuple(result.shape[i] for i in inverse)
            inner = dataclasses.replace(result, name=free_name(graph, f"{result.name}/untransposed"), shape=shape)
            perm = int32(free_name(graph, f"{result.name}/perm"), permutation)
            reduced = dataclasses.replace(reduced, outputs=(inner.name,))
            behind = Op("TRANSPOSE", (inner.name, perm.name), op.outputs)
            return prune(replace_op(graph, op, [reduced, behind], [new_axes, inner, perm]))
        left = [p for p in permutation if p not in folded]
        if left == sorted(left):
            return prune(replace_op(graph, op, [reduced], [new_axes]))
    return graph


def transpose_to_reshape(graph: Graph) -> Graph:
    """A transpose that only moves dimensions of one element is a reshape."""
    for op in graph.ops:
        permutation = permutation_of(graph, op)
        if permutation is None or permutation == tuple(range(len(permutation))):
            continue
        shape = graph.tensors[op.inputs[0]].shape
        moving = [p for p in permutation if shape[p] != 1]
        if moving == sorted(moving):
            new_shape = graph.tensors[op.outputs[0]].shape
            target = int32(free_name(graph, f"{op.outputs[0]}/shape"), new_shape)
            reshape = Op("RESHAPE", (op.inputs[0], target.name), op.outputs, {"new_shape": new_shape})
            return prune(replace_op(graph, op, [reshape], [target]))
    return graph


def is_cube(shape: Sequence[int]) -> bool:
    """Whether the shape of a picture does not tell how it lies: (batch, n, n, n)."""
    return len(shape) == 4 and len(set(shape[1:])) == 1


def permutation_of(graph: Graph, op: Op | None) -> Permutation | None:
    """The permutation of a TRANSPOSE; None for anything else."""
    if op is None or op.name != "TRANSPOSE":
        return None
    value = graph.constant(op.inputs[1])
    return None if value is None else tuple(int(v) for v in value)


def _incoming(graph: Graph, tensor: str) -> Permutation | None:
    return permutation_of(graph, graph.producer(tensor))
