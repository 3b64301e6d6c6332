"""Makes ranges such that no scale is degenerate: checked before anything is quantised.

A tensor that never changes, or hardly, would get a scale that nothing can be rescaled to: the interpreters multiply an
accumulator by the quotient of scales in 32-bit fixed point, where it wraps around (a constant zero comes out as
anything), and an addition ends the process. A range is therefore at least so wide that its step is not absurdly finer
than what the operator adds up: the rules below are far from what a network needs, so that no sound range changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from multigraft.converters.quantising.linear_operators import linear_operator
from multigraft.converters.quantising.ranges import Range, Ranges
from multigraft.converters.quantising.value_counts import STEPS
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph, Op

LEAST_RANGE = 1e-9
"""litert-quantizer takes no narrower one; :mod:`~multigraft.converters.quantising.fine_ranges` sets such scales."""

_NO_RANGE = 1e-18
"""What is narrower is one value."""

_ACCUMULATOR = 2.0**30
"""The largest sum of a channel, in steps of its output."""

_MULTIPLIER = 128.0
"""Steps of the output for one step of the accumulator; XNNPACK refuses a model from 256."""

_NARROWEST = 2.0**-12
"""Of the input's step, for operators that move or average values."""

_SOFTMAX = 2.0**-20
"""Of an input of SOFTMAX, whose kernels multiply it by 2**26 times its step and refuse less than one."""

_SUM = 2.0**-8
"""Of the larger input's step: finer is what no sum of the two resolves (ADD ends the process from 2**-19)."""

_PRODUCT = 2.0**-13
"""Of the product of both steps."""


def step(bounds: Range) -> float:
    """The scale that a range gets: zero is in every range."""
    return max(max(bounds[1], 0.0) - min(bounds[0], 0.0), _NO_RANGE) / STEPS


def sound_ranges(graph: Graph, ranges: Mapping[str, Range], weight_steps: int = 127) -> Ranges:
    """``ranges``, widened where a scale would be degenerate.

    Args:
        graph: Float32.
        ranges: Of all its activations.
        weight_steps: Largest stored weight.

    Raises:
        ConversionError: A range is not finite, or upside down; the message names the tensor.
    """
    for name, (low, high) in ranges.items():
        if name in graph.tensors and not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConversionError(
                f"the range of tensor {name!r} is {low:g} to {high:g}", "give two finite values, the smaller one first"
            )
    sound = dict(ranges)
    for op in graph.ops:
        if op.name == "SOFTMAX" and (source := op.inputs[0]) in sound and step(sound[source]) < _SOFTMAX:
            sound[source] = _widened(sound[source], _SOFTMAX * STEPS)
        least = _least_step(graph, op, sound, weight_steps)
        for name in op.outputs:
            if name in sound and step(sound[name]) < least:
                sound[name] = _widened(sound[name], least * STEPS)
    return sound


def _widened(bounds: Range, width: float) -> Range:
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    if high == low:
        return 0.0, width
    factor = width / (high - low)
    return low * factor, high * factor


def _least_step(graph: Graph, op: Op, ranges: Mapping[str, Range], weight_steps: int) -> float:
    linear = linear_operator(graph, op)
    if linear is not None:
        source = ranges.get(linear.source)
        if source is None:
            return 0.0
        rows, bias = np.abs(linear.rows(graph)), np.abs(linear.bias_values(graph))
        most = float((rows.sum(1) * step(source) * STEPS + bias).max(initial=0))
        return max(most / _ACCUMULATOR, step(source) * float(rows.max(initial=0)) / weight_steps / _MULTIPLIER)
    rule = _RULES.get(op.name)
    steps = [s for n in op.inputs if (s := _step_of(graph, n, ranges)) is not None]
    return rule(steps) if rule and steps else 0.0


def _step_of(graph: Graph, name: str, ranges: Mapping[str, Range]) -> float | None:
    value = graph.constant(name)
    if value is not None:
        if value.dtype != np.float32 or not value.size or not np.isfinite(value).all():  # what reads such stays float
            return None
        return step((float(value.min()), float(value.max())))
    return step(ranges[name]) if name in ranges else None


def _move(steps: list[float]) -> float:
    return max(steps) * _NARROWEST


def _sum(steps: list[float]) -> float:
    return max(steps) * _SUM


def _product(steps: list[float]) -> float:
    return math.prod(steps) * _PRODUCT


_RULES: dict[str, Callable[[list[float]], float]] = {
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _product,
    **dict.fromkeys(("CONCATENATION", "PACK", "MAXIMUM", "MINIMUM"), max),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "HARD_SWISH"), _move),
    **dict.fromkeys(("MEAN", "SUM", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _move),
}
