"""Drops channels that are constant for every possible input, and folds what they contribute into the next bias.

Nothing is approximated: :mod:`multigraft.firmware_gen.passes.intervals` proves the channel constant, and integer sums
do not depend on their order. A channel goes only if everything that reads it can do without: a convolution or dense
layer (its weights for it go too), or an operator that keeps channels apart and whose own output channel goes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.passes.intervals import intervals, keeps_channels, layer_of, pads, same_channels
from multigraft.firmware_gen.program.program import Node, Program
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Tensor

_LINEAR = ("CONV_2D", "FULLY_CONNECTED")
_GRANULE = 4
"""Channels stay a multiple of this where they were one: kernels work on four at a time."""


def prune(program: Program) -> Program:
    """The same answers for every input, without constant channels."""
    known = intervals(program)
    dropped = _droppable(program, known)
    if not any(mask.any() for mask in dropped.values()):
        return program
    tensors = dict(program.tensors)
    steps = tuple(replace(s, node=_without(s.node, dropped, known, tensors)) for s in program.steps)
    return replace(program, steps=steps, tensors=tensors)


def _droppable(program: Program, known: dict[str, tuple[Array, Array]]) -> dict[str, Array]:
    """Per tensor which channels go: decided backwards, from what reads a tensor to what writes it."""
    readers: dict[str, list[Node]] = {}
    for step in program.steps:
        for tensor in step.node.inputs:
            if tensor is not None and tensor.data is None:
                readers.setdefault(tensor.name, []).append(step.node)
    fixed = {t.name for t in (*program.inputs, *program.outputs)}
    dropped: dict[str, Array] = {}
    for step in reversed(program.steps):
        for output in step.node.outputs:
            low, high = known[output.name]
            mask = low == high
            if output.name in fixed or not (step.node.name in _LINEAR or _apart(step.node)):
                dropped[output.name] = np.zeros_like(mask)
                continue
            for node in readers.get(output.name, []):
                mask = mask & _may_lose(node, output, low, dropped)
            dropped[output.name] = mask
    # Forwards: what keeps channels apart can lose only what its input loses.
    for step in program.steps:
        node = step.node
        if _apart(node):
            source = node.input(0)
            given = dropped.get(source.name, np.zeros(source.shape[-1], bool))
            result = dropped[node.outputs[0].name]
            dropped[node.outputs[0].name] = result & given if len(result) == len(given) else result & False
    return _in_granules(program, dropped)


def _apart(node: Node) -> bool:
    """Whether its output has the input's channels, each made of that one."""
    return node.name in ("DEPTHWISE_CONV_2D", "RESHAPE") or keeps_channels(node)


def _may_lose(node: Node, tensor: Tensor, value: Array, dropped: dict[str, Array]) -> Array:
    none = np.zeros(tensor.shape[-1], bool)
    if node.inputs[0] is not tensor and (node.inputs[0] is None or node.inputs[0].name != tensor.name):
        return none
    if sum(t is not None and t.name == tensor.name for t in node.inputs) > 1:
        return none
    result = dropped[node.outputs[0].name]
    if node.name in _LINEAR:
        if node.name == "FULLY_CONNECTED" and node.input(1).shape[1] != len(none):
            return none
        # Where padding is read instead, the channel would not contribute its constant.
        return ~none if not pads(layer_of(node)[1]) else value == quant(tensor).zero_points[0]
    if node.name == "DEPTHWISE_CONV_2D" or keeps_channels(node) or (node.name == "RESHAPE" and same_channels(node)):
        return result if len(result) == len(none) else none
    return none


def _in_granules(program: Program, dropped: dict[str, Array]) -> dict[str, Array]:
    """Keep as many of the constant channels as multiples of the granule need; chains keep the same ones."""
    group: dict[str, str] = {}
    for step in program.steps:
        node = step.node
        name = node.outputs[0].name
        source = node.input(0).name
        chained = _apart(node) and source in dropped and dropped[source].shape == dropped[name].shape
        group[name] = group.get(source, source) if chained else name
    common: dict[str, Array] = {}
    for name, root in group.items():
        common[root] = common[root] & dropped[name] if root in common else dropped[name].copy()
    for mask in common.values():
        kept = int((~mask).sum())
        wanted = max(_GRANULE, -(-kept // _GRANULE) * _GRANULE)
        back = np.flatnonzero(mask)[: max(wanted - kept, 0)]
        mask[back] = False
    return {name: common[root] for name, root in group.items()}


def _without(
    node: Node, dropped: dict[str, Array], known: dict[str, tuple[Array, Array]], tensors: dict[str, Tensor]
) -> Node:
    """The node between the tensors that are left; ``tensors`` is updated."""

    def kept(tensor: Tensor) -> Array:
        return ~dropped.get(tensor.name, np.zeros(tensor.shape[-1] if tensor.shape else 1, bool))

    inputs = list(node.inputs)
    result = node.outputs[0]
    if node.name in (*_LINEAR, "DEPTHWISE_CONV_2D"):
        source, weights = node.input(0), node.input(1)
        assert weights.data is not None
        keep_in, keep_out = kept(source), kept(result)
        axis = 3 if node.name == "DEPTHWISE_CONV_2D" else 0
        data, bias = weights.data, _bias(node)
        if node.name in _LINEAR:
            value = known[source.name][0] - quant(source).zero_points[0] if source.name in known else None
            if value is not None and not keep_in.all():
                lost = data.reshape(len(data), -1, len(keep_in))[:, :, ~keep_in].astype(np.int64)
                bias = bias + (lost * value[~keep_in]).sum(axis=(1, 2))
            data = data[..., keep_in]
        data = np.ascontiguousarray(np.compress(keep_out, data, axis=axis))
        inputs[1] = replace(weights, shape=data.shape, data=data, quant=_channels(weights, keep_out))
        offset = node.inputs[2] if len(node.inputs) > 2 else None
        bias_tensor = offset if offset is not None else Tensor(f"{result.name}/bias", (len(bias),), "int32")
        values = bias[keep_out].astype(np.int32)
        inputs[2:] = [replace(bias_tensor, shape=values.shape, data=values, quant=None)]
    for position, tensor in enumerate(inputs):
        if tensor is not None and tensor.data is None:
            inputs[position] = _smaller(tensor, kept(tensor))
    smaller = _smaller(result, kept(result))
    tensors[smaller.name] = smaller
    return replace(node, inputs=tuple(inputs), outputs=(smaller, *node.outputs[1:]))


def _bias(node: Node) -> Array:
    """The bias as stored, int64; zeros where there is none."""
    offset = node.inputs[2] if len(node.inputs) > 2 else None
    if offset is None or offset.data is None:
        return np.zeros(node.outputs[0].shape[-1], np.int64)
    return offset.data.astype(np.int64).reshape(-1)


def _channels(weights: Tensor, keep: Array) -> Any:
    given = quant(weights)
    if len(given.scales) == 1:
        return given
    scales = tuple(s for s, k in zip(given.scales, keep, strict=True) if k)
    return replace(given, scales=scales, zero_points=(0,) * len(scales))


def _smaller(tensor: Tensor, keep: Array) -> Tensor:
    if keep.all():
        return tensor
    return replace(tensor, shape=(*tensor.shape[:-1], int(keep.sum())))
