"""Which channels can go: those that some linear layers write, others read, and nothing ties to a fixed number.

Channels that are added or multiplied element by element have to go together, as those of a residual stream do. So every
tensor's channels belong to groups, found by joining what each operator ties (as DepGraph does, arXiv 2301.12900). A
tensor that joins others has the groups of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import Network, attributes
from multigraft.converters.thinning.layout import (
    Layout,
    Places,
    grouped,
    joined,
    permuted,
    reshaped,
    row_of,
    transposed,
    within,
)
from multigraft.converters.thinning.shuffles import shuffled
from multigraft.converters.thinning.ties import RESHAPING, has_constants, is_between, mixing, solvable
from multigraft.refit.linear_layer import Dense, LinearLayer

MOST_INPUTS = 4096
"""Of a layer whose channels may go: the sums of all products of more take a quarter of a GB and minutes to solve."""


@dataclass(frozen=True)
class Place:
    """Where a tensor has the channels of a group.

    Attributes:
        axis: Along which, that of the batch included.
        places: Of each channel, (channels, places of each).
    """

    axis: int
    places: Places


@dataclass(frozen=True)
class Channels:
    """Channels that are kept or go together.

    Attributes:
        count: How many there are.
        makers: Indices of the linear nodes that write them, each output reading every input channel.
        readers: Indices of those that read them, in the same sense.
        between: Indices of nodes with constants per channel: depthwise convolutions, batch norms, additions, shapes.
        tensors: Every tensor that has them, to where.
    """

    count: int
    makers: tuple[int, ...]
    readers: tuple[int, ...]
    between: tuple[int, ...]
    tensors: dict[str, Place] = field(compare=False)


def channel_groups(network: Network) -> tuple[Channels, ...]:
    """All of a network whose number can change, in the order in which they are first written."""
    finder = _Finder(network)
    for index, node in enumerate(network.nodes):
        finder.see(index, node)
    for name in network.outputs:
        finder.fix(name)
    return finder.groups()


class _Finder:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._layouts: dict[str, Layout] = {}
        self._parent: list[int] = []
        self._counts: list[int] = []
        self._fixed: set[int] = set()
        self._makers: dict[int, set[int]] = {}
        self._readers: dict[int, set[int]] = {}
        self._between: dict[int, set[int]] = {}

    def fix(self, name: str) -> None:
        """The channels of ``name`` stay."""
        if name in self._layouts:
            self._fixed.update(self._roots(self._layouts[name]))

    def see(self, index: int, node: onnx.NodeProto) -> None:
        """Tie what ``node`` ties."""
        network, constants = self._network, self._network.constants
        given = [n for n in node.input if n and n not in constants]
        frames_first = bool(given) and all(network.has_frames(n) for n in (*given, *node.output) if n)
        layer = solvable(node, constants) if len(given) == 1 and frames_first else None
        if layer is not None and mixing(network, node) is not None:
            self._see_mixing(index, node, layer)
            return
        read = self._layouts.get(node.input[0]) if frames_first else None
        if read is not None and (order := shuffled(network, index, read.axis)) is not None:
            self._layouts[network.nodes[index + 2].output[0]] = permuted(read, order)
            return
        if frames_first and node.op_type == "Split" and self._split(node):
            return
        layout = self._through(node, given, layer) if frames_first and len(node.output) == 1 else None
        if layout is None and frames_first and self._keeps(node, given, layer):
            for name in given[1:]:
                self._tie(given[0], name)
            layout = self._layouts[given[0]]
        if layout is None:
            for name in given:
                self.fix(name)
            return
        self._layouts[node.output[0]] = layout
        if has_constants(node, constants):
            for root in self._roots(layout):
                self._between.setdefault(root, set()).add(index)

    def _see_mixing(self, index: int, node: onnx.NodeProto, layer: LinearLayer) -> None:
        tensor, output = node.input[0], node.output[0]
        is_dense = isinstance(layer, Dense)
        if (read := self._layouts.get(tensor)) is not None:
            if read.axis != (len(self._network.shapes[tensor]) if is_dense else 1):
                self.fix(tensor)
            if layer.weight.shape[1] > MOST_INPUTS or layer.weight.shape[1] % read.width:
                self.fix(tensor)
            for root in self._roots(read):
                self._readers.setdefault(root, set()).add(index)
        axis = len(self._network.shapes[output]) if is_dense else 1
        self._layouts[output] = made = row_of(self._new(layer.weight.shape[2]), layer.weight.shape[2], axis)
        self._makers[made.parts[0].channels] = {index}

    def _through(self, node: onnx.NodeProto, given: Sequence[str], layer: LinearLayer | None) -> Layout | None:
        """The layout behind a node that moves channels, or works on some of them at once, or None."""
        if node.op_type == "Concat" and len(given) == len(node.input):
            return self._joined(node, given)
        if len(given) != 1 or (read := self._layouts.get(given[0])) is None:
            return None
        if node.op_type == "Conv" and layer is not None and read.axis == 1:
            return self._grouped(given[0], layer)
        shapes = self._network.shapes
        before, after = shapes[given[0]], shapes[node.output[0]]
        if node.op_type == "Transpose":
            said: dict[str, Any] = attributes(node)
            order = said.get("perm") or list(range(len(before), -1, -1))
            return transposed(read, order) if order[0] == 0 else None
        return reshaped(read, before, after) if node.op_type in RESHAPING else None

    def _grouped(self, tensor: str, layer: LinearLayer) -> Layout | None:
        """The layout behind a grouped convolution, of which whole groups go, or None."""
        groups, width = len(layer.weight), self._layouts[tensor].width
        each, made = width // groups, layer.weight.shape[2]
        for number in range(len(self._layouts[tensor].parts)):
            # Looked up anew each time: parts may be of the same channels.
            part = self._layouts[tensor].parts[number]
            size = part.places.shape[1]
            if each % size == 0 and len(part.places) % (each // size) == 0:
                self._gather(part.channels, each // size)
        return grouped(self._layouts[tensor], each, made)

    def _split(self, node: onnx.NodeProto) -> bool:
        """Follow the channels into the pieces of a tensor, or tell that they lie along another axis."""
        shapes, tensor = self._network.shapes, node.input[0]
        said: dict[str, Any] = attributes(node)
        axis = int(said.get("axis", 0)) % (len(shapes[tensor]) + 1)
        if tensor not in self._layouts or axis != self._layouts[tensor].axis:
            return False
        ends = np.cumsum([shapes[name][axis - 1] for name in node.output])
        for end in ends[:-1]:
            # One after the other: parts may be of the same channels.
            while across := [p for p in self._layouts[tensor].parts if p.places.min() < end <= p.places.max()]:
                away = across[0].places >= end
                if (away.any(1) != away.all(1)).any():
                    return False
                self._divide(across[0].channels, away.all(1))
        for name, start, end in zip(node.output, [0, *ends[:-1]], ends, strict=True):
            self._layouts[name] = within(self._layouts[tensor], int(start), int(end))
        return True

    def _divide(self, channels: int, away: npt.NDArray[np.bool_]) -> None:
        """From now on some of these channels need not go together with the others."""
        root, number = self._root(channels), self._new(int(away.sum()))
        self._counts[root] -= self._counts[number]
        for table in (self._makers, self._readers, self._between):
            table[number] = set(table.get(root, ()))
        if root in self._fixed:
            self._fixed.add(number)
        for name, layout in self._layouts.items():
            self._layouts[name] = layout.divided(self._parts_of(layout, root), away, number)

    def _parts_of(self, layout: Layout, root: int) -> set[int]:
        return {part.channels for part in layout.parts if self._root(part.channels) == root}

    def _gather(self, channels: int, times: int) -> None:
        """From now on so many channels, one after the other, are one."""
        if times == 1:
            return
        root = self._root(channels)
        self._counts[root] //= times
        for name, layout in self._layouts.items():
            self._layouts[name] = layout.gathered(self._parts_of(layout, root), times)

    def _joined(self, node: onnx.NodeProto, given: Sequence[str]) -> Layout | None:
        shapes, known = self._network.shapes, [self._layouts[n] for n in given if n in self._layouts]
        said: dict[str, Any] = attributes(node)
        axis = int(said["axis"]) % (len(shapes[node.output[0]]) + 1)
        if not known or axis == 0 or any(layout.axis != known[0].axis for layout in known):
            return None
        if axis == known[0].axis:
            return joined([self._layouts.get(n) or self._unknown(shapes[n][axis - 1], axis) for n in given])
        if len(known) < len(given):
            return None
        for name in given[1:]:
            self._tie(given[0], name)
        return self._layouts[given[0]]

    def _keeps(self, node: onnx.NodeProto, given: Sequence[str], layer: LinearLayer | None) -> bool:
        layouts = [self._layouts.get(name) for name in given]
        if layouts[0] is None or any(layout is None or layout.axis != layouts[0].axis for layout in layouts):
            return False
        return is_between(self._network, node, given, layer, layouts[0].axis, layouts[0].width)

    def _unknown(self, count: int, axis: int) -> Layout:
        """Channels of which nothing is known: they stay."""
        made = row_of(self._new(count), count, axis)
        self._fixed.add(made.parts[0].channels)
        return made

    def _new(self, count: int) -> int:
        self._parent.append(len(self._parent))
        self._counts.append(count)
        return len(self._parent) - 1

    def _tie(self, first: str, second: str) -> None:
        """The channels of two tensors, which have them along the same axis, go together."""
        for wide, narrow in ((first, second), (second, first)):
            for number in range(min(len(self._layouts[name].parts) for name in (wide, narrow))):
                many, few = (self._layouts[name].parts[number] for name in (wide, narrow))
                if len(many.places) > len(few.places) and len(many.places) % len(few.places) == 0:
                    self._gather(many.channels, len(many.places) // len(few.places))
        one, other = self._layouts[first], self._layouts[second]
        if not one.has_places_of(other):
            self._fixed.update(self._roots(one), self._roots(other))
            return
        for a, b in zip(one.parts, other.parts, strict=True):
            mine, theirs = self._root(a.channels), self._root(b.channels)
            if mine != theirs:
                self._parent[theirs] = mine
                for table in (self._makers, self._readers, self._between):
                    table.setdefault(mine, set()).update(table.pop(theirs, ()))
                if theirs in self._fixed:
                    self._fixed.add(mine)

    def _roots(self, layout: Layout) -> list[int]:
        return [self._root(part.channels) for part in layout.parts]

    def _root(self, channels: int) -> int:
        while (above := self._parent[channels]) != channels:
            channels = above
        return channels

    def groups(self) -> tuple[Channels, ...]:
        """Those that are written and read by linear layers."""
        tensors: dict[int, dict[str, Place]] = {}
        for name, layout in self._layouts.items():
            for root, part in zip(self._roots(layout), layout.parts, strict=True):
                have = tensors.setdefault(root, {}).get(name)
                # A tensor may be joined with itself.
                places = part.places if have is None else np.concatenate([have.places, part.places], 1)
                tensors[root][name] = Place(layout.axis, np.sort(places, 1))
        found = [
            Channels(
                self._counts[root],
                tuple(sorted(self._makers[root])),
                tuple(sorted(self._readers[root])),
                tuple(sorted(self._between.get(root, ()))),
                tensors[root],
            )
            for root in self._makers
            if root not in self._fixed and self._readers.get(root) and self._counts[root] > 1
        ]
        return tuple(sorted(found, key=lambda g: g.makers))
