"""What has to hold of every graph before anything else is asked of it: files may be damaged, or made to do harm."""

from __future__ import annotations

import math

from multigraft.errors import InputError
from multigraft.tflite.checking.demands import COUNTS
from multigraft.tflite.graph import Graph, Tensor

MOST_BYTES = 1 << 30
"""Bytes of one tensor; no microcontroller has as much memory."""
LEAST_SCALE, GREATEST_SCALE = 1e-20, 1e9
"""Scales of int8 tensors: the products of two, over a third, are numbers in float32."""

_UNKNOWN = (1, 1 << 16, 1, 1 << 16)
"""What an operator has at most of which nothing is known here; it is refused by name later."""

_RANGES = {"int4": (-8, 7), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
"""Type of stored tensors to its least and greatest value, which its zero point may be."""
_COMPILED = {"ethos-u": "an Ethos-U (by Vela)", "edgetpu-custom-op": "an Edge TPU"}
"""Custom operators that hold code of another processor, and for which."""
_REMEDY = "copy the model again, or convert it again"
_TENSORS_NEEDED = {"VAR_HANDLE": (0, 1), "READ_VARIABLE": (1, 1), "ASSIGN_VARIABLE": (2, 0), "CALL_ONCE": (0, 0)}
"""Operator to the inputs and outputs it has at least, where that is not one of each."""


def check_graph(graph: Graph) -> None:
    """Refuse a subgraph that is none.

    Raises:
        InputError: It was compiled for another processor, a shape is not static, a tensor is too large for any board, a
            quantisation is no quantisation, an operator lacks a tensor, a tensor is written twice, or is read before it
            is written.
    """
    for op in graph.ops:
        if op.custom_code in _COMPILED:
            raise InputError(
                f"the model was compiled for {_COMPILED[op.custom_code]}", "give the model as it was before that"
            )
    never_stored = {name for op in graph.ops for name in op.intermediates}
    for tensor in graph.tensors.values():
        if tensor.name not in never_stored:
            _check_tensor(tensor)
    known = {t.name for t in graph.tensors.values() if t.data is not None or t.is_variable}
    for name in graph.inputs:
        if name not in graph.tensors or name in known:
            raise InputError(f"the model's input {name!r} is no tensor to be filled", _REMEDY)
        known.add(name)
    for op in graph.ops:
        inputs, outputs = _TENSORS_NEEDED.get(op.name, (1, 1))
        if len(op.inputs) < inputs or len(op.outputs) < outputs or "" in (*op.inputs[:inputs], *op.outputs):
            raise InputError(f"an operator {op.label} lacks an input or an output", _REMEDY)
        _, most, _, most_out = COUNTS.get(op.name, _UNKNOWN)
        if len(op.inputs) > most or len(op.outputs) > most_out:
            raise InputError(
                f"an operator {op.label} has {len(op.inputs)} inputs and {len(op.outputs)} outputs, more than it takes",
                _REMEDY,
            )
        for name in op.inputs:
            if name and name not in known:
                raise InputError(f"{op.label} reads {name!r} before it is written", _REMEDY)
        for name in op.outputs:
            if name in known:
                raise InputError(f"{op.label} writes {name!r}, which has its value already", _REMEDY)
            known.add(name)
    for name in graph.outputs:
        if name not in known:
            raise InputError(f"the model's output {name!r} is written by no operator", _REMEDY)


def _check_tensor(tensor: Tensor) -> None:
    # A constant of no element is the shape of a single number.
    if any(d < 1 for d in tensor.shape) and (tensor.data is None or tensor.dtype not in ("int32", "int64")):
        raise InputError(
            f"tensor {tensor.name!r} has shape {tensor.shape}, which is not static", "export with static shapes"
        )
    if math.prod(tensor.shape) > MOST_BYTES:
        raise InputError(f"tensor {tensor.name!r} has shape {tensor.shape}, too large for any board", _REMEDY)
    if tensor.dtype not in _RANGES or tensor.quant is None:
        return
    least, most = _RANGES[tensor.dtype]
    scales, zero_points, axis = tensor.quant.scales, tensor.quant.zero_points, tensor.quant.axis
    # A NaN fails every comparison.
    if not all(LEAST_SCALE <= scale <= GREATEST_SCALE for scale in scales):
        raise InputError(f"tensor {tensor.name!r} has a scale of {_worst(scales):g}", "quantise the model again")
    if len(zero_points) != len(scales) or not all(least <= zero_point <= most for zero_point in zero_points):
        raise InputError(
            f"tensor {tensor.name!r} has a zero point that is no {tensor.dtype}", "quantise the model again"
        )
    if len(scales) > 1 and not (0 <= axis < len(tensor.shape) and tensor.shape[axis] == len(scales)):
        raise InputError(
            f"tensor {tensor.name!r} of shape {tensor.shape} has {len(scales)} scales along axis {axis}",
            "quantise the model again",
        )


def _worst(scales: tuple[float, ...]) -> float:
    return next(scale for scale in scales if not LEAST_SCALE <= scale <= GREATEST_SCALE)
