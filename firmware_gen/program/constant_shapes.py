"""Integers that are computed of shapes and constants alone are constants: SHAPE, STRIDED_SLICE, PACK before a RESHAPE.

Shapes are static here, so what converters leave of dynamic ones has one value. What an answer is made of stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from multigraft.firmware_gen.program.options import integer
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, Tensor

_INTEGERS = ("int32", "int64")
MOST_ELEMENTS = 1 << 12
"""Of one tensor: shapes, axes and indices have few."""


def with_constant_shapes(graph: Graph) -> Graph:
    """``graph`` without the operators whose outputs are integers known beforehand; these become constants."""
    tensors, ops = dict(graph.tensors), []
    for op in graph.ops:
        value = None
        if len(op.outputs) == 1 and op.outputs[0] not in graph.outputs:
            value = _value(op, [tensors.get(n) for n in op.inputs], tensors[op.outputs[0]])
        if value is None:
            ops.append(op)
        else:
            tensors[op.outputs[0]] = replace(tensors[op.outputs[0]], data=value)
    return replace(graph, ops=tuple(ops), tensors=tensors)


def _value(op: Op, inputs: Sequence[Tensor | None], output: Tensor) -> Array | None:
    """The one value of ``output``; None if it has several, is no integer, or is not what its shape says."""
    if output.dtype not in _INTEGERS or output.quant is not None or int(np.prod(output.shape)) > MOST_ELEMENTS:
        return None
    if op.name in ("SHAPE", "RANK") and inputs[0] is not None:
        shape = inputs[0].shape
        value = np.array(shape if op.name == "SHAPE" else len(shape))
    else:
        known = [t.data for t in inputs if t is not None and t.data is not None and t.dtype in _INTEGERS]
        compute = _COMPUTED.get(op.name)
        if compute is None or len(known) != len(inputs) or max((v.size for v in known), default=0) > MOST_ELEMENTS:
            return None
        try:
            value = compute(op, known)
        except (IndexError, ValueError, TypeError):
            return None
    limits = np.iinfo(output.dtype)
    fits = value.shape == output.shape and (value.size == 0 or limits.min <= value.min() <= value.max() <= limits.max)
    return value.astype(output.dtype) if fits else None


def _sliced(op: Op, values: Sequence[Array]) -> Array:
    """STRIDED_SLICE of a row of numbers."""
    source, (begin, end, stride) = values[0], (int(v.reshape(-1)[0]) for v in values[1:4])
    if source.ndim != 1 or any(v.size != 1 for v in values[1:4]) or integer(op.options.get("new_axis_mask")):
        raise ValueError
    if integer(op.options.get("shrink_axis_mask")):
        return np.asarray(source[begin])
    first = None if integer(op.options.get("begin_mask")) else begin
    return source[slice(first, None if integer(op.options.get("end_mask")) else end, stride)]


def _joined(op: Op, values: Sequence[Array]) -> Array:
    return np.concatenate(values, axis=integer(op.options.get("axis")))


def _stacked(op: Op, values: Sequence[Array]) -> Array:
    return np.stack(values, axis=integer(op.options.get("axis")))


def _reshaped(op: Op, values: Sequence[Array]) -> Array:
    return values[0].reshape(-1) if len(values) < 2 else values[0].reshape(values[1].reshape(-1).tolist())


def _expanded(op: Op, values: Sequence[Array]) -> Array:
    return np.expand_dims(values[0], int(values[1].reshape(-1)[0]))


def _gathered(op: Op, values: Sequence[Array]) -> Array:
    if integer(op.options.get("batch_dims")):
        raise ValueError
    return np.take(values[0], values[1], axis=integer(op.options.get("axis")))


def _pair(compute: Callable[[Array, Array], Array]) -> Callable[[Op, Sequence[Array]], Array]:
    return lambda op, values: np.asarray(compute(values[0].astype(np.int64), values[1].astype(np.int64)))


_COMPUTED: dict[str, Callable[[Op, Sequence[Array]], Array]] = {
    "ADD": _pair(np.add),
    "CAST": lambda op, values: values[0],
    "CONCATENATION": _joined,
    "EXPAND_DIMS": _expanded,
    "GATHER": _gathered,
    "MAXIMUM": _pair(np.maximum),
    "MINIMUM": _pair(np.minimum),
    "MUL": _pair(np.multiply),
    "PACK": _stacked,
    "REDUCE_PROD": lambda op, values: np.prod(values[0], axis=tuple(values[1].reshape(-1).tolist()), dtype=np.int64),
    "RESHAPE": _reshaped,
    "SQUEEZE": lambda op, values: np.squeeze(values[0]),
    "STRIDED_SLICE": _sliced,
    "SUB": _pair(np.subtract),
}
"""Operator to its value; one that cannot be told raises ValueError, IndexError or TypeError."""
