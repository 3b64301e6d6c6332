"""Which channels can go: those that some linear layers write, others read, and nothing ties to a fixed number.

Channels that are added or multiplied element by element have to go together, as those of a residual stream do. So every
tensor's channels belong to one group, found by joining what each operator ties (as DepGraph does, arXiv 2301.12900).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.network.network import ACTIVATIONS, Network, attributes
from multigraft.errors import UnsupportedOperatorError
from multigraft.refit.linear_layer import Dense, LinearLayer

PER_CHANNEL = (ACTIVATIONS - {"PRelu"}) | {"Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
"""Operators that compute every channel from itself alone, with constants that are the same for all."""

ELEMENTWISE = frozenset(("Add", "Sub", "Mul", "Div", "PRelu", "Min", "Max"))
SPATIAL = frozenset(("Resize", "Pad"))
"""Operators whose constants say, axis by axis, what becomes of a tensor's size."""

MEANS = frozenset(("ReduceMean", "ReduceMax", "ReduceSum"))


@dataclass(frozen=True)
class Channels:
    """Channels that are kept or go together.

    Attributes:
        count: How many there are.
        makers: Indices of the linear nodes that write them, each output reading every input channel.
        readers: Indices of those that read them, in the same sense.
        between: Indices of nodes with constants per channel: depthwise convolutions, batch norms, additions.
        tensors: Every tensor that has them, to its axis of channels, that of the batch included.
    """

    count: int
    makers: tuple[int, ...]
    readers: tuple[int, ...]
    between: tuple[int, ...]
    tensors: dict[str, int] = field(compare=False)


def solvable(node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> LinearLayer | None:
    """The layer of a node, or None where it is not linear or linear in a way that cannot be solved: it stays whole."""
    try:
        return linear_layer(node, constants)
    except UnsupportedOperatorError:
        return None


def mixing(network: Network, node: onnx.NodeProto) -> LinearLayer | None:
    """The layer of a node in which every output reads every input channel, or None."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    layer = solvable(node, network.constants)
    return layer if layer is not None and layer.geometry.groups == 1 and len(node.output) == 1 else None


def channel_groups(network: Network) -> tuple[Channels, ...]:
    """All of a network whose number can change, in the order in which they are first written."""
    ties = _Ties(network)
    for index, node in enumerate(network.nodes):
        ties.see(index, node)
    for name in network.outputs:
        ties.fix(name)
    return ties.groups()


class _Ties:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._parent: dict[str, str] = {}
        self._axis: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._fixed: set[str] = set()
        self._makers: dict[str, list[int]] = {}
        self._readers: dict[str, list[int]] = {}
        self._between: dict[str, list[int]] = {}
        self.fix(network.input)

    def fix(self, name: str) -> None:
        """The channels of ``name`` stay."""
        self._fixed.add(self._root(name))

    def see(self, index: int, node: onnx.NodeProto) -> None:
        """Tie what ``node`` ties."""
        network, constants = self._network, self._network.constants
        given = [n for n in node.input if n and n not in constants]
        frames_first = all(network.has_frames(n) for n in (*given, *node.output) if n)
        layer = solvable(node, constants) if len(given) == 1 and frames_first else None
        if layer is not None and mixing(network, node) is not None:
            self._see_mixing(index, node, layer)
        elif node.op_type == "Flatten" and frames_first and self._flattens(node):
            self._join(node.output[0], given[0], 1)
        elif given and frames_first and self._keeps_channels(node, given, layer):
            axis = self._axis.get(self._root(given[0]), 1)
            if self._has_constants(node, axis):
                self._between.setdefault(self._root(given[0]), []).append(index)
            for name in given[1:]:
                self._join(name, given[0], axis)
            self._join(node.output[0], given[0], axis)
        else:
            for name in (*given, *node.output):
                if name:
                    self.fix(name)

    def _see_mixing(self, index: int, node: onnx.NodeProto, layer: LinearLayer) -> None:
        tensor, output = node.input[0], node.output[0]
        axis = len(self._network.shapes[tensor]) if isinstance(layer, Dense) else 1
        root = self._root(tensor)
        if self._axis.get(root, axis) != axis or layer.weight.shape[1] % self._count.get(root, 1):
            self.fix(tensor)
        self._readers.setdefault(root, []).append(index)
        made = self._root(output)
        self._axis[made] = len(self._network.shapes[output]) if isinstance(layer, Dense) else 1
        self._count[made] = layer.weight.shape[2]
        self._makers.setdefault(made, []).append(index)

    def _flattens(self, node: onnx.NodeProto) -> bool:
        """Whether the features of each channel stay together."""
        return attributes(node).get("axis", 1) == 1 and self._axis.get(self._root(node.input[0])) == 1

    def _keeps_channels(self, node: onnx.NodeProto, given: list[str], layer: LinearLayer | None) -> bool:
        shapes, constants = self._network.shapes, self._network.constants
        root = self._root(given[0])
        count, axis = self._count.get(root), self._axis.get(root, 1)
        if count is None or len(node.output) != 1 or any(self._axis.get(self._root(n)) != axis for n in given):
            return False
        if any(self._width(name, axis) != count for name in (*given, node.output[0])):
            return False
        if any(len(shapes[name]) != len(shapes[given[0]]) for name in given):
            return False
        # Of tokens the features are the channels, and these operators work along or between those.
        if axis != 1 and (layer is not None or "Pool" in node.op_type):
            return False
        if layer is not None:
            return node.op_type == "BatchNormalization" or (
                node.op_type == "Conv" and constants[node.input[1]].shape[:2] == (count, 1)
            )
        if node.op_type in PER_CHANNEL:
            return all(constants[n].size <= 1 for n in node.input[1:] if n)
        if node.op_type in MEANS:
            axes = attributes(node).get("axes")
            if axes is None and len(node.input) > 1 and node.input[1]:
                axes = constants[node.input[1]].tolist()
            rank = len(shapes[given[0]]) + 1
            return axes is not None and not {0, axis} & {int(a) % rank for a in axes}  # type: ignore[attr-defined]
        if node.op_type in SPATIAL:
            return _leaves_channels(node, constants, axis, len(shapes[given[0]]) + 1)
        # A constant of a higher rank would put its own axis where the channels are.
        if node.op_type not in ELEMENTWISE or len(shapes[node.output[0]]) != len(shapes[given[0]]):
            return False
        return all(
            self._per_channel_axis(constants[n], axis, count, len(shapes[given[0]])) is not None
            for n in node.input
            if n in constants
        )

    def _width(self, name: str, axis: int) -> int:
        shape = self._network.shapes[name]
        return shape[axis - 1] if axis <= len(shape) else 0

    def _has_constants(self, node: onnx.NodeProto, axis: int) -> bool:
        if node.op_type in PER_CHANNEL or node.op_type in MEANS or node.op_type in SPATIAL:
            return False
        return any(n in self._network.constants and self._network.constants[n].size > 1 for n in node.input)

    @staticmethod
    def _per_channel_axis(value: npt.NDArray[Any], axis: int, count: int, rank: int) -> int | None:
        """The axis of channels of a constant that is broadcast; -1 where it has one value for all; None if neither."""
        return constant_axis(value.shape, axis, count, rank)

    def _join(self, name: str, other: str, axis: int) -> None:
        mine, theirs = self._root(name), self._root(other)
        if mine == theirs:
            return
        self._parent[mine] = theirs
        self._axis.setdefault(theirs, axis)
        for table in (self._makers, self._readers, self._between):
            table.setdefault(theirs, []).extend(table.pop(mine, []))
        if mine in self._fixed:
            self._fixed.add(theirs)
        if mine in self._count and theirs in self._count and self._count[mine] != self._count[theirs]:
            self._fixed.add(theirs)

    def _root(self, name: str) -> str:
        while (above := self._parent.get(name, name)) != name:
            name = above
        return name

    def groups(self) -> tuple[Channels, ...]:
        """Those that are written and read by linear layers."""
        tensors: dict[str, dict[str, int]] = {}
        for name in self._network.shapes:
            root = self._root(name)
            tensors.setdefault(root, {})[name] = self._axis.get(root, 1)
        found = [
            Channels(
                self._count[root],
                tuple(sorted(self._makers[root])),
                tuple(sorted(self._readers[root])),
                tuple(sorted(self._between.get(root, []))),
                tensors[root],
            )
            for root in self._makers
            if root not in self._fixed and self._readers.get(root) and self._count[root] > 1
        ]
        return tuple(sorted(found, key=lambda g: g.makers))


def _leaves_channels(node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]], axis: int, rank: int) -> bool:
    """Whether a Resize or a Pad has a constant for each axis, and those of frames and channels change nothing."""
    given = [constants.get(name) if name else None for name in [*node.input, "", "", ""]]
    if any(name and name not in constants for name in node.input[1:]):
        return False
    if node.op_type == "Resize":
        scales, sizes = given[2:4]
        # Sizes are absolute: they hold the number of channels.
        if scales is None or scales.size != rank or sizes is not None:
            return False
        crops = attributes(node).get("coordinate_transformation_mode") == b"tf_crop_and_resize"
        return not crops and bool(scales[0] == scales[axis] == 1)
    pads, axes = given[1], given[3]
    if pads is None:
        return False
    padded = range(rank) if axes is None else [int(a) % rank for a in axes.ravel()]
    by_axis = dict(zip(padded, pads.reshape(2, -1).T.tolist(), strict=True))
    return not any(any(by_axis.get(one, ())) for one in (0, axis))


def constant_axis(shape: tuple[int, ...], axis: int, count: int, rank: int) -> int | None:
    """Where a constant that is broadcast over a tensor has its channels.

    Args:
        shape: Of the constant.
        axis: Of the tensor's channels, that of the batch included.
        count: Of the channels.
        rank: Of the tensor, without the batch.

    Returns:
        The axis; -1 where one value serves all channels; None where it has another number of channels.
    """
    if int(np.prod(shape)) <= 1:
        return -1
    place = axis - (rank + 1 - len(shape))
    if place < 0 or shape[place] == 1:
        return -1
    return place if shape[place] == count else None
