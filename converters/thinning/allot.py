"""How many channels of each group stay: they go where their lack costs the answers least for what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.network.network import Network, node_macs, node_weights
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.survey import Survey
from multigraft.converters.thinning.ties import solvable
from multigraft.tensors.arrays import Float64Array


@dataclass(frozen=True)
class Cost:
    """What narrower groups save.

    Attributes:
        network: As it is.
        groups: Of its channels.
        macs: How much of the cost are multiply-accumulates, 0..1; the rest are weights.
    """

    network: Network
    groups: Sequence[Channels]
    macs: float = 1.0

    def tables(self) -> Tables:
        """What every node costs, and which part of what it reads and writes is of each group."""
        network = self.network
        macs = np.array([node_macs(n, network.constants, network.shapes) for n in network.nodes], float)
        weights = np.array([node_weights(n, network.constants) for n in network.nodes], float)
        constants = [network.constants.get(n.input[1]) if len(n.input) > 1 else None for n in network.nodes]
        products = np.minimum(weights, [0 if value is None else value.size for value in constants])
        per_weight = (1 - self.macs) / max(weights.sum(), 1)
        share = self.macs * macs / max(macs.sum(), 1) + per_weight * products
        reads, writes = (np.zeros((len(share), len(self.groups))) for _ in range(2))
        for number, group in enumerate(self.groups):
            for index in group.readers:
                reads[index, number] = self._part(group, network.nodes[index].input[0])
            for index in (*group.makers, *group.between):
                writes[index, number] = self._part(group, network.nodes[index].output[0])
        biases = weights - products + [_bias_to_come(node, network) for node in network.nodes]
        return Tables(share, per_weight * biases, reads, writes)

    def _part(self, group: Channels, tensor: str) -> float:
        place = group.tensors[tensor]
        return place.places.size / self.network.shapes[tensor][place.axis - 1]


def _bias_to_come(node: onnx.NodeProto, network: Network) -> int:
    """How many weights a node gets that has no bias and is solved with one."""
    layer = solvable(node, network.constants)
    if layer is None or not layer.geometry.takes_bias or (len(node.input) > 2 and node.input[2]):
        return 0
    return layer.intercept.size


@dataclass(frozen=True)
class Tables:
    """Costs of nodes, as shares of all.

    Attributes:
        products: (nodes,), in proportion to what a node reads and to what it writes.
        biases: (nodes,), in proportion to what it writes alone, those included that solving may add.
        reads: (nodes, groups), the part of what a node reads that is of each group.
        writes: (nodes, groups), likewise.
    """

    products: Float64Array
    biases: Float64Array
    reads: Float64Array
    writes: Float64Array

    def total(self, left: Float64Array) -> float:
        """The cost where ``left`` of the channels of each group are left, (groups,), 0..1."""
        read, write = (1 + part @ (left - 1) for part in (self.reads, self.writes))
        return float(np.sum((self.products * read + self.biases) * write))

    def slopes(self, left: Float64Array) -> tuple[Float64Array, Float64Array]:
        """How the cost changes with one group: the factors of the change of what is left of it, and of its square."""
        read, write = (1 + part @ (left - 1) for part in (self.reads, self.writes))
        linear = (self.products * read + self.biases) @ self.writes + (self.products * write) @ self.reads
        return linear, self.products @ (self.reads * self.writes)


def allot(found: Survey, share: float, macs: float = 1.0) -> list[int]:
    """Channels of each group for ``share`` of the cost, 0..1, or as near as they go.

    Args:
        found: What was seen of the network.
        share: Of the cost that may be left.
        macs: As :attr:`Cost.macs`.
    """
    if share >= 1:
        return [g.count for g in found.groups]
    tasks = len(found.lost([g.count for g in found.groups])) if found.groups else 1
    return _narrowed(found, Cost(found.network, found.groups, macs), np.full(tasks, 1 / tasks), share)


def allot_within(found: Survey, allowed: Float64Array, macs: float = 1.0) -> list[int]:
    """The fewest channels of each group with which no task loses more than it may, as :meth:`Survey.lost` has it.

    Args:
        found: What was seen of the network.
        allowed: What each task may lose, (tasks,).
        macs: As :attr:`Cost.macs`.
    """
    return _narrowed(found, Cost(found.network, found.groups, macs), 1 / allowed, 0.0, allowed)


def _narrowed(
    found: Survey, cost: Cost, prices: Float64Array, share: float, allowed: Float64Array | None = None
) -> list[int]:
    """Narrow where it is cheapest for what it saves, ``prices`` being those of each task's loss, (tasks,)."""
    tables = cost.tables()
    counts = np.array([g.count for g in found.groups], float)
    widths = [g.count for g in found.groups]
    now = tables.total(np.ones(len(counts)))
    enough = share * (1 + 1e-9)
    while now > enough:
        best, price = None, np.inf
        lost = found.lost(widths)
        linear, square = tables.slopes(np.array(widths) / counts)
        for number, (width, curve) in enumerate(zip(widths, found.curves, strict=True)):
            for narrower in sorted((w for w in curve if w < width), reverse=True):
                rise = curve[narrower] - curve[width]
                if allowed is not None and np.any(lost + rise > allowed):
                    break
                change = (narrower - width) / counts[number]
                saved = -float(linear[number] * change + square[number] * change**2)
                paid = max(float(rise @ prices), 1e-9) / max(saved, 1e-12)
                if paid < price:
                    best, price = (number, narrower), paid
                if now - saved <= enough:
                    break
        if best is None:
            break
        widths[best[0]] = best[1]
        now = tables.total(np.array(widths) / counts)
    return widths
