"""Makes the scales of weights such that every bias and every sum fits: checked after litert-quantizer.

A bias is stored as int32 in steps of input scale times weight scale. A channel whose weights are all zero, or tiny
beside its bias (a batch norm with gamma 0, a pruned channel), has so fine a step that its bias saturates at 2**31
without a word. Such a channel gets the finest scale at which the bias and the largest sum of products fit; its weights
are stored anew from the float ones. What that takes from them is below a step of the output.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from multigraft.converters.quantising.linear_operators import (
    LinearOperator,
    along,
    constant,
    linear_operator,
    linear_operators,
    with_constants,
)
from multigraft.converters.quantising.sound_ranges import LEAST_RANGE
from multigraft.errors import ConversionError
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Quant, Tensor

LEAST_SCALE, GREATEST_SCALE = 1e-20, 1e9
"""Products of two scales over a third are numbers in float32; firmware refuses others, too."""

_LARGEST = {"int8": 127, "int4": 7}
"""Stored type of weights to the largest value in use."""

_ROOM = 2.0**31 - 2.0**12
"""What a sum may come to: int32, less what rounding of each product can add."""

GREATEST_RATIO = 128.0
"""Steps of the output that one step of input times weight may be: XNNPACK takes less than 256."""

_STORED = ("int8", "int16", "uint8")


def with_sound_scales(quantised: Graph, floating: Graph, finer: Collection[str] = ()) -> Graph:
    """``quantised`` with every bias and every sum of a linear operator within int32.

    Args:
        quantised: What litert-quantizer made, under the names of ``floating``.
        floating: The float graph, for the exact weights.
        finer: Tensors whose scale is no longer what litert-quantizer stored the biases of their readers by.

    Raises:
        ConversionError: A scale is no number, too small or too large; the message names the tensor.
    """
    originals = floating.producers()
    for linear in linear_operators(quantised):
        original = originals.get(linear.result)
        exact = linear_operator(floating, original) if original is not None else None
        if exact is not None and exact.op.name == linear.op.name and _is_integer(quantised, linear):
            quantised = _sound(quantised, linear, floating, exact, linear.source in finer)
    check_scales(quantised)
    return quantised


def check_scales(graph: Graph) -> None:
    """Refuse scales and zero points that nothing can compute with.

    Raises:
        ConversionError: The message names the tensor.
    """
    for tensor in graph.tensors.values():
        if tensor.dtype not in _STORED or tensor.quant is None:
            continue
        limits = np.iinfo(tensor.dtype)
        bad = [s for s in tensor.quant.scales if not LEAST_SCALE <= s <= GREATEST_SCALE]
        if bad:
            raise ConversionError(
                f"tensor {tensor.name!r} would be stored in steps of {bad[0]:g}", "keep the layer that writes it float"
            )
        if not all(limits.min <= z <= limits.max for z in tensor.quant.zero_points):
            raise ConversionError(f"the zero point of tensor {tensor.name!r} is out of range", "give it another range")


def input_scale(graph: Graph, linear: LinearOperator) -> float:
    """The one scale of what ``linear`` reads."""
    quant = graph.tensors[linear.source].quant
    assert quant is not None
    return float(np.float32(quant.scales[0]))


def least_scales(graph: Graph, linear: LinearOperator, rows: Array, bias: Array) -> npt.NDArray[np.float64]:
    """Per channel the finest weight scale at which its bias and its largest sum fit.

    Args:
        graph: Quantised.
        linear: An operator of it that reads int8.
        rows: Float weights, channels x the rest.
        bias: Float bias per channel.
    """
    quant = graph.tensors[linear.source].quant
    assert quant is not None
    reach = max(127 - quant.zero_points[0], 128 + quant.zero_points[0])
    return np.asarray((np.abs(bias) / input_scale(graph, linear) + reach * np.abs(rows).sum(1)) / _ROOM, np.float64)


def stored_bias(graph: Graph, linear: LinearOperator, bias: Array, scales: Array) -> Tensor:
    """The bias tensor of ``linear`` for the float values ``bias`` and weights of ``scales`` (one or per channel)."""
    steps = (np.float32(input_scale(graph, linear)) * scales.astype(np.float32)).astype(np.float32)
    data = np.rint(bias / steps.astype(np.float64)).astype(np.int64)
    if np.abs(data).max(initial=0) >= 2**31:
        raise ConversionError(f"the bias of the layer that writes {linear.result!r} does not fit", "keep it float")
    quant = Quant(tuple(float(s) for s in steps), (0,) * len(steps), 0)
    old = graph.tensors[linear.bias]
    return dataclasses.replace(old, data=data.astype(np.int32).reshape(old.shape), quant=quant)


def _is_integer(graph: Graph, linear: LinearOperator) -> bool:
    weights, source = graph.tensors[linear.weights], graph.tensors[linear.source]
    bias = graph.tensors.get(linear.bias)
    is_bias_integer = bias is None or bias.dtype == "int32"
    return weights.dtype in _LARGEST and weights.quant is not None and source.dtype == "int8" and is_bias_integer


def _sound(graph: Graph, linear: LinearOperator, floating: Graph, exact: LinearOperator, is_rebiased: bool) -> Graph:
    weights = graph.tensors[linear.weights]
    assert weights.quant is not None
    largest = _LARGEST[weights.dtype]
    rows, bias = exact.rows(floating), exact.bias_values(floating)
    old = np.array(weights.quant.scales, np.float64)
    highest, least = np.abs(rows).max(1, initial=0), least_scales(graph, linear, rows, bias)
    if weights.quant.per_tensor:
        highest, least = highest.max(keepdims=True), least.max(keepdims=True)
    # Below its least range litert-quantizer stores zeros, whatever the weights are.
    finest = np.where(highest < LEAST_RANGE, np.maximum(highest / largest, LEAST_SCALE), old)
    # A channel without weights has a scale that fits nothing; beside a very narrow output it is too coarse to be run.
    output = graph.tensors[linear.result].quant
    coarsest = np.inf if output is None else GREATEST_RATIO * output.scales[0] / input_scale(graph, linear)
    wanted = np.maximum(np.where(highest > 0, finest, np.minimum(old, coarsest)), least)
    is_changed = wanted != old
    if not is_changed.any() and not is_rebiased:
        return graph
    scales = np.where(is_changed, np.nextafter(wanted.astype(np.float32), np.float32(np.inf)), old)
    value = constant(floating, exact.weights).astype(np.float64)
    stored = np.rint(value / along(scales, linear.axis, value.ndim)).clip(-largest, largest)
    data = np.where(along(is_changed, linear.axis, value.ndim), stored, constant(graph, linear.weights))
    quant = dataclasses.replace(weights.quant, scales=tuple(float(s) for s in scales))
    changed = [
        (linear.op.inputs.index(linear.weights), dataclasses.replace(weights, data=data.astype(np.int8), quant=quant))
    ]
    if linear.bias:
        changed.append((linear.op.inputs.index(linear.bias), stored_bias(graph, linear, bias, scales)))
    return with_constants(graph, linear.op, changed)[0]
