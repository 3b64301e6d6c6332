"""A network with fewer channels in its groups: every constant that has them loses the same ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.converters.network.network import Array, Network, attributes
from multigraft.converters.thinning.channels import Channels, constant_axis

Indices = npt.NDArray[np.int64]


def narrowed(network: Network, groups: Sequence[Channels], kept: Sequence[Indices]) -> Network:
    """``network`` with ``kept`` channels of each group alone; it stays untouched itself."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    nodes, values = model.graph.node, dict(network.constants)
    changed: dict[tuple[int, int], Array] = {}

    def take(index: int, position: int, indices: Indices, axis: int) -> None:
        value = changed.get((index, position))
        value = values[nodes[index].input[position]] if value is None else value
        changed[index, position] = np.take(value, indices, axis=axis)

    for group, left in zip(groups, kept, strict=True):
        if len(left) == group.count:
            continue
        for index in group.makers:
            take(index, 1, left, weight_axes(nodes[index])[1])
            _take_bias(values, nodes[index], index, left, take)
        for index in group.readers:
            axis = weight_axes(nodes[index])[0]
            size = values[nodes[index].input[1]].shape[axis] // group.count
            take(index, 1, spread(left, size), axis)
        for index in group.between:
            _take_between(network, nodes[index], index, group, left, take)
    for (index, position), value in changed.items():
        put(model, nodes[index], position, value)
    return like(network, model)


def weight_axes(node: onnx.NodeProto) -> tuple[int, int]:
    """The axes of inputs and of outputs of a linear node's weights, of which there is one group."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attributes(node).get("transB")):
        return 1, 0
    return 0, 1


def spread(channels: Indices, size: int) -> Indices:
    """Indices of the inputs of these channels, each of which has ``size`` of them in a row."""
    return (channels[:, None] * size + np.arange(size)).reshape(-1)


Take = Callable[[int, int, Indices, int], None]
"""Takes channels of a constant: the node's index, the constant's position, the channels, their axis."""


def _take_bias(
    constants: Mapping[str, npt.NDArray[Any]], node: onnx.NodeProto, index: int, left: Indices, take: Take
) -> None:
    if len(node.input) > 2 and node.input[2] and constants[node.input[2]].size > 1:
        take(index, 2, left, constants[node.input[2]].ndim - 1)


def _take_between(
    network: Network, node: onnx.NodeProto, index: int, group: Channels, left: Indices, take: Take
) -> None:
    if node.op_type in ("Conv", "BatchNormalization"):
        for position, name in enumerate(node.input):
            if position and name:
                take(index, position, left, 0)
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = len(left)
        return
    tensor = next(n for n in node.input if n in group.tensors)
    rank = len(network.shapes[tensor])
    for position, name in enumerate(node.input):
        if name in network.constants:
            axis = constant_axis(network.constants[name].shape, group.tensors[tensor], group.count, rank)
            if axis is not None and axis >= 0:
                take(index, position, left, axis)


def put(model: onnx.ModelProto, node: onnx.NodeProto, position: int, value: Array) -> None:
    """Let ``node`` alone read another constant: others may read the one that it read."""
    name = f"{node.output[0]}/thin/{position}"
    for old in [i for i in model.graph.initializer if i.name == name]:
        model.graph.initializer.remove(old)
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    while len(node.input) <= position:
        node.input.append("")
    node.input[position] = name


def like(network: Network, model: onnx.ModelProto) -> Network:
    """A network of ``model`` that is what ``network`` is in everything else."""
    del model.graph.value_info[:]
    read = {name for node in model.graph.node for name in node.input}
    used = [i for i in model.graph.initializer if i.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
    made = Network(
        network.name,
        model,
        network.preprocessing,
        network.kind,
        network.labels,
        network.source_sha256,
        network.metadata,
    )
    made.answer, made.on = copy.copy(network.answer), network.on
    return made
