"""What a TFLite graph computes from constants alone, computed: weights in float16 or int8, sparse ones, shapes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.interpreters import Runner, main_signature
from multigraft.errors import MultigraftError
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph, Model, Op, Quant, Tensor
from multigraft.tflite.tflite_file import write

Array = npt.NDArray[Any]

_LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_MOST_ELEMENTS = 1 << 24
"""Of what is computed here: shapes and small tables, not weights."""


def fold(graph: Graph) -> Graph:
    """``graph`` without operators that read constants alone; integer weights of layers on float values are float."""
    tensors = dict(graph.tensors)
    kept: list[Op] = []
    for op in graph.ops:
        value = _value(op, tensors)
        if value is None:
            kept.append(_with_float_weights(op, tensors))
            continue
        output = tensors[op.outputs[0]]
        tensors[output.name] = Tensor(output.name, value.shape, output.dtype, output.quant, value)
    return alive(dataclasses.replace(graph, ops=tuple(kept), tensors=tensors))


def alive(graph: Graph) -> Graph:
    """``graph`` with what leads to its outputs only."""
    needed = set(graph.outputs)
    ops = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            ops.append(op)
            needed.update(op.inputs)
    touched = needed | {n for op in ops for n in op.outputs} | set(graph.inputs)
    tensors = {n: t for n, t in graph.tensors.items() if n in touched}
    return dataclasses.replace(graph, ops=tuple(reversed(ops)), tensors=tensors)


def dequantised(value: Array, quant: Quant) -> Array:
    """``scale * (stored - zero_point)``, float32."""
    shape = [1] * value.ndim
    if not quant.per_tensor:
        shape[quant.axis] = len(quant.scales)
    scales, zero_points = (np.array(v, np.float32) for v in (quant.scales, quant.zero_points))
    if quant.per_tensor:
        return np.asarray((value.astype(np.float32) - zero_points[0]) * scales[0], np.float32)
    return np.asarray((value.astype(np.float32) - zero_points.reshape(shape)) * scales.reshape(shape), np.float32)


def _value(op: Op, tensors: dict[str, Tensor]) -> Array | None:
    """What the operator gives, if it gives one value that no input of the network changes."""
    if len(op.outputs) != 1:
        return None
    output = tensors[op.outputs[0]]
    if op.name == "SHAPE":
        return np.array(tensors[op.inputs[0]].shape, output.dtype)
    if op.name == "RANK":
        return np.array(len(tensors[op.inputs[0]].shape), output.dtype)
    read = [tensors[n] for n in op.inputs if n]
    if not read or any(t.data is None for t in read):
        return None
    source = read[0]
    assert source.data is not None
    if op.name == "DENSIFY":
        return source.data
    if op.name == "DEQUANTIZE" and source.dtype == "float16":
        return source.data.astype(np.float32)
    if op.name == "DEQUANTIZE" and source.quant is not None:
        return dequantised(source.data, source.quant)
    return _computed(op, read, output)


def _computed(op: Op, read: list[Tensor], output: Tensor) -> Array | None:
    """By the interpreter, as a network of one operator; None where it does not run."""
    if op.custom_code or int(np.prod(output.shape, dtype=np.int64)) > _MOST_ELEMENTS:
        return None
    given = {t.name: t for t in read} | {output.name: output}
    alone = Graph("folded", (), (output.name,), (op,), given)
    content = write(Model((alone,), (main_signature(alone),)))
    try:
        check_tflite(content, "a constant")
        return Runner(content)({})[output.name]
    except MultigraftError:
        return None


def _with_float_weights(op: Op, tensors: dict[str, Tensor]) -> Op:
    """Layers with 8-bit weights on float values ("dynamic range") as they were before their weights were rounded."""
    if op.name not in _LINEAR or len(op.inputs) < 2:
        return op
    source = tensors[op.inputs[2 if op.name == "TRANSPOSE_CONV" else 0]]
    weight = tensors[op.inputs[1]]
    if source.dtype != "float32" or weight.dtype == "float32" or weight.data is None or weight.quant is None:
        return op
    name = f"{weight.name}/float"
    tensors[name] = Tensor(name, weight.shape, "float32", None, dequantised(weight.data, weight.quant))
    options = {k: v for k, v in op.options.items() if k != "asymmetric_quantize_inputs"}
    inputs = (op.inputs[0], name, *op.inputs[2:])
    return dataclasses.replace(op, inputs=inputs, options=options, version=min(op.version, 3))
