"""Bias correction: what rounding of weights adds to a channel on average is taken from its bias.

A rounded weight differs from its float by e; over frames an operator's channel is off by e times the mean of what it
reads (Nagel et al., arXiv 1906.04721, section 4.2, with means measured on unlabeled frames). It matters most for 4-bit
weights and for depthwise convolutions, where few errors average out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multigraft.converters.quantising.channels import Channel, Vector
from multigraft.converters.quantising.linear_operators import (
    LinearOperator,
    along,
    constant,
    linear_operator,
    linear_operators,
    with_constants,
)
from multigraft.converters.quantising.sound_scales import stored_bias
from multigraft.tflite.graph import Graph

_LARGEST_BIAS = 2**30
"""Larger ones stay as they are: they have no room."""


def correctable(floating: Graph) -> tuple[str, ...]:
    """The tensors whose means are needed."""
    return tuple(dict.fromkeys(linear.source for linear in _with_bias(floating)))


def corrected(quantised: Graph, floating: Graph, channels: Mapping[str, Channel]) -> Graph:
    """``quantised`` with its biases corrected.

    Args:
        quantised: Static int8 or int4.
        floating: The float graph it was made of, with equal names for equal tensors.
        channels: Means on frames, by tensor of ``floating``.
    """
    originals = floating.producers()
    for linear in _with_bias(quantised):
        original = originals.get(linear.result)
        exact = linear_operator(floating, original) if original is not None else None
        weights = quantised.tensors[linear.weights]
        if exact is None or weights.quant is None or quantised.tensors[linear.bias].dtype != "int32":
            continue
        mean = channels[exact.source].mean if exact.source in channels else None
        shape = weights.shape
        if mean is None or shape[-1] % mean.size or (shape[-1] != mean.size and linear.op.name != "DEPTHWISE_CONV_2D"):
            continue
        scales = np.array(weights.quant.scales)
        shift = _shift(quantised, floating, linear, exact, mean, scales)
        has_room = np.abs(constant(quantised, linear.bias).astype(np.int64).reshape(-1)) < _LARGEST_BIAS
        bias = stored_bias(quantised, linear, exact.bias_values(floating) - np.where(has_room, shift, 0), scales)
        quantised = with_constants(quantised, linear.op, [(linear.op.inputs.index(linear.bias), bias)])[0]
    return quantised


def _with_bias(graph: Graph) -> list[LinearOperator]:
    return [linear for linear in linear_operators(graph) if linear.bias and linear.op.name != "TRANSPOSE_CONV"]


def _shift(
    quantised: Graph, floating: Graph, linear: LinearOperator, exact: LinearOperator, mean: Vector, scales: Vector
) -> Vector:
    """How much larger each channel is on average."""
    stored = constant(quantised, linear.weights).astype(np.float64)
    error = stored * along(scales, linear.axis, stored.ndim) - constant(floating, exact.weights)
    last = stored.ndim - 1
    weighted = error * along(np.repeat(mean, stored.shape[-1] // mean.size), last, stored.ndim)
    rest = tuple(i for i in range(stored.ndim) if i != linear.axis)
    return np.asarray(weighted.sum(axis=rest), np.float64)
