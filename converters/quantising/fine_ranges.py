"""Scales of tensors whose values are tiny throughout: litert-quantizer knows none below :data:`LEAST_RANGE` over 255.

A network may well compute in units in which its values are 1e-12 (watts, metres). litert-quantizer stores such a tensor
as zeros. Here its scale becomes what its range asks for. Tensors that an operator wants stored alike keep one scale,
and what a layer reads whose bias is out of all proportion to it is as good as zero and stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from multigraft.converters.quantising.linear_operators import LinearOperator, linear_operators
from multigraft.converters.quantising.ranges import PASSES_VALUES, Range
from multigraft.converters.quantising.sound_ranges import LEAST_RANGE, step
from multigraft.converters.quantising.value_counts import STEPS
from multigraft.tflite.graph import Graph, Quant, Tensor

_FLOOR = 1.01 * LEAST_RANGE / STEPS
"""Scales up to this were set by litert-quantizer's least range."""

_ALIKE = PASSES_VALUES | {"CONCATENATION", "PACK", "UNPACK", "MAXIMUM", "MINIMUM", "GATHER_ND", "REVERSE_V2"}
"""Operators that may need one scale for what they read and write."""


def with_fine_ranges(quantised: Graph, ranges: Mapping[str, Range]) -> tuple[Graph, frozenset[str]]:
    """``quantised`` with the scales that ``ranges`` below :data:`LEAST_RANGE` ask for, and the tensors changed.

    Args:
        quantised: What litert-quantizer made; biases of what reads a changed tensor have to be stored anew.
        ranges: Of its activations, as they were given to litert-quantizer.
    """
    tensors = dict(quantised.tensors)
    for group in _stored_alike(quantised):
        bounds = [ranges[n] for n in group if n in ranges]
        low, high = min((b[0] for b in bounds), default=0.0), max((b[1] for b in bounds), default=0.0)
        low, high = min(low, 0.0), max(high, 0.0)
        if not 0 < high - low < LEAST_RANGE or any(tensors[n].data is not None for n in group):
            continue
        scale = step((low, high))
        if any(
            linear.source in group and not _bears(quantised, linear, scale) for linear in linear_operators(quantised)
        ):
            continue
        quant = Quant((scale,), (max(-128, min(127, round(-128 - low / scale))),), 0)
        tensors |= {n: dataclasses.replace(tensors[n], quant=quant) for n in group}
    changed = frozenset(n for n, tensor in tensors.items() if tensor is not quantised.tensors[n])
    return dataclasses.replace(quantised, tensors=tensors), changed


def _bears(graph: Graph, linear: LinearOperator, scale: float) -> bool:
    """Whether the bias of ``linear`` fits where what it reads has this scale."""
    weights, bias = graph.tensors[linear.weights], graph.tensors.get(linear.bias)
    if weights.quant is None or bias is None or bias.quant is None:
        return True
    real = np.abs(linear.bias_values(graph)) * np.array(bias.quant.scales)
    return bool((real / (scale * np.array(weights.quant.scales)) < 2.0**30).all())


def _stored_alike(graph: Graph) -> list[set[str]]:
    """Tensors at the least scale, those together that one operator reads and writes with one scale."""
    group_of = {n: {n} for n, tensor in graph.tensors.items() if _is_floor(tensor)}
    for op in graph.ops:
        if op.name not in _ALIKE:
            continue
        members = [n for n in (*op.inputs, *op.outputs) if n in group_of]
        for name in members[1:]:
            first = group_of[members[0]]
            if group_of[name] is not first and graph.tensors[name].quant == graph.tensors[members[0]].quant:
                first |= group_of[name]
                group_of |= dict.fromkeys(first, first)
    return list({id(group): group for group in group_of.values()}.values())


def _is_floor(tensor: Tensor) -> bool:
    return tensor.dtype == "int8" and tensor.quant is not None and max(tensor.quant.scales) <= _FLOOR
