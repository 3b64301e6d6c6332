"""A network with fewer channels in its groups: every constant that has them loses the same ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.converters.network.network import Network, attributes
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.shuffles import shuffled
from multigraft.converters.thinning.ties import constant_axis

Indices = npt.NDArray[np.int64]

Kept = dict[str, tuple[Indices, int]]
"""Tensor to the places that are left of it, in ascending order, and the axis along which they lie, batch included."""


def kept_places(network: Network, groups: Sequence[Channels], kept: Sequence[Indices]) -> Kept:
    """What is left of every tensor that loses something where ``kept`` channels of each group stay."""
    gone: dict[str, list[Indices]] = {}
    axes: dict[str, int] = {}
    for group, some in zip(groups, kept, strict=True):
        if len(some) == group.count:
            continue
        lost = np.setdiff1d(np.arange(group.count), some)
        for name, place in group.tensors.items():
            gone.setdefault(name, []).append(place.places[lost].reshape(-1))
            axes[name] = place.axis
    widths = {name: network.shapes[name][axis - 1] for name, axis in axes.items()}
    return {name: (np.delete(np.arange(widths[name]), np.concatenate(gone[name])), axes[name]) for name in axes}


def narrowed(network: Network, groups: Sequence[Channels], kept: Sequence[Indices]) -> Network:
    """``network`` with ``kept`` channels of each group alone; it stays untouched itself."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    left = kept_places(network, groups, kept)
    made = {index for group in groups for index in group.makers}
    read = {index for group in groups for index in group.readers}
    between = {index for group in groups for index in group.between}
    for index, node in enumerate(model.graph.node):
        source, result = (left.get(names[0]) if len(names) else None for names in (node.input, node.output))
        taken = Taken(network, model, node)
        if index in made and result is not None:
            taken.take(1, result[0], weight_axes(node)[1])
            taken.take_bias(result[0])
        if index in read and source is not None:
            taken.take(1, source[0], weight_axes(node)[0])
        if index in between and result is not None:
            taken.take_between(result[0], result[1])
        if node.op_type == "Split" and source is not None:
            taken.split(left)
        taken.put()
        if source is not None and (order := shuffled(network, index, source[1])) is not None:
            _reorder(model, index, order, left)
    return like(network, model)


def _reorder(model: onnx.ModelProto, index: int, order: Indices, left: Kept) -> None:
    """Let three nodes shuffle the channels that are left, which a Reshape may not divide as before."""
    first, second, last = model.graph.node[index : index + 3]
    read, made = left[first.input[0]][0], left[last.output[0]][0]
    for node in (first, second):
        node.op_type = "Identity"
        del node.attribute[:], node.input[1:]
    last.op_type = "Gather"
    del last.attribute[:]
    last.attribute.append(onnx.helper.make_attribute("axis", 1))
    put(model, last, 1, np.searchsorted(read, order[made]))


def weight_axes(node: onnx.NodeProto) -> tuple[int, int]:
    """The axes of inputs and of outputs of a linear node's weights, of which there is one group."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attributes(node).get("transB")):
        return 1, 0
    return 0, 1


class Taken:
    """Constants of one node that lose channels.

    Args:
        network: As it was.
        model: That is made of it.
        node: Of that model.
    """

    def __init__(self, network: Network, model: onnx.ModelProto, node: onnx.NodeProto) -> None:
        self._network, self._model, self._node = network, model, node
        self._changed: dict[int, npt.NDArray[Any]] = {}

    def take(self, position: int, indices: Indices, axis: int) -> None:
        """Keep these of a constant."""
        self._changed[position] = np.take(self._value(position), indices, axis=axis)

    def take_bias(self, indices: Indices) -> None:
        """Keep these of a linear node's bias, if it has one for each output."""
        if len(self._node.input) > 2 and self._node.input[2] and (value := self._value(2)).size > 1:
            self.take(2, indices, value.ndim - 1)

    def take_between(self, indices: Indices, axis: int) -> None:
        """Keep these channels of a node that works on each alone; ``axis`` is that of what it gives."""
        network, node = self._network, self._node
        if node.op_type == "Reshape":
            # Each axis by its size but the batch, which may be -1: a 0 would copy a size that changes, too.
            after = [self._value(1).reshape(-1)[0], *network.shapes[node.output[0]]]
            after[axis] = len(indices)
            self._changed[1] = np.array(after, np.int64)
            return
        if node.op_type in ("Conv", "BatchNormalization"):
            for position, name in enumerate(node.input):
                if position and name:
                    self.take(position, indices, 0)
            for attribute in node.attribute:
                if attribute.name == "group":
                    attribute.i = attribute.i * len(indices) // network.shapes[node.output[0]][0]
            return
        shape = network.shapes[node.output[0]]
        for position, name in enumerate(node.input):
            if name in network.constants:
                along = constant_axis(network.constants[name].shape, axis, shape[axis - 1], len(shape))
                if along is not None and along >= 0:
                    self.take(position, indices, along)

    def split(self, left: Kept) -> None:
        """Let a Split give what is left of each of its pieces."""
        network, node = self._network, self._node
        axis = left[node.input[0]][1]
        sizes = [len(left[o][0]) if o in left else network.shapes[o][axis - 1] for o in node.output]
        for attribute in [a for a in node.attribute if a.name == "num_outputs"]:
            node.attribute.remove(attribute)
        self._changed[1] = np.array(sizes, np.int64)

    def put(self) -> None:
        """Give the node what is left."""
        for position, value in self._changed.items():
            put(self._model, self._node, position, value)

    def _value(self, position: int) -> npt.NDArray[Any]:
        found = self._changed.get(position)
        return self._network.constants[self._node.input[position]] if found is None else found


def put(model: onnx.ModelProto, node: onnx.NodeProto, position: int, value: npt.NDArray[Any]) -> None:
    """Let ``node`` alone read another constant: others may read the one that it read."""
    name = f"{node.output[0]}/thin/{position}"
    for old in [i for i in model.graph.initializer if i.name == name]:
        model.graph.initializer.remove(old)
    kind = np.int64 if value.dtype.kind == "i" else np.float32
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, kind), name))
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
