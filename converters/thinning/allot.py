"""How many channels of each group stay: they go where their lack costs the answers least for what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.network.network import Network, node_macs, node_weights
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.narrow import Indices
from multigraft.converters.thinning.survey import Survey
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

    def tables(self) -> tuple[Float64Array, Float64Array, Indices, Indices]:
        """Of every node: the shares of the cost of its products and of its biases, which what it reads does not change,
        and the groups that it reads and writes, -1 for none."""
        network = self.network
        macs = np.array([node_macs(n, network.constants, network.shapes) for n in network.nodes], float)
        weights = np.array([node_weights(n, network.constants) for n in network.nodes], float)
        constants = [network.constants.get(n.input[1]) if len(n.input) > 1 else None for n in network.nodes]
        products = np.minimum(weights, [0 if value is None else value.size for value in constants])
        per_weight = (1 - self.macs) / max(weights.sum(), 1)
        share = self.macs * macs / max(macs.sum(), 1) + per_weight * products
        reads, writes = np.full(len(share), -1), np.full(len(share), -1)
        for number, group in enumerate(self.groups):
            reads[list(group.readers)] = number
            writes[[*group.makers, *group.between]] = number
        return share, per_weight * (weights - products), reads, writes


def allot(found: Survey, share: float, macs: float = 1.0) -> list[int]:
    """Channels of each group for ``share`` of the cost, 0..1, or as near as they go.

    Args:
        found: What was seen of the network.
        share: Of the cost that may be left.
        macs: As :attr:`Cost.macs`.
    """
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
    table, biases, reads, writes = cost.tables()
    counts = np.array([g.count for g in found.groups], float)
    widths = [g.count for g in found.groups]

    def total(these: Sequence[int]) -> float:
        ratio = np.append(np.array(these) / counts, 1.0)
        return float(np.sum((table * ratio[reads] + biases) * ratio[writes]))

    now = total(widths)
    while now > share * (1 + 1e-9):
        best, price = None, np.inf
        lost = found.lost(widths)
        for number, (width, curve) in enumerate(zip(widths, found.curves, strict=True)):
            for narrower in sorted((w for w in curve if w < width), reverse=True):
                rise = curve[narrower] - curve[width]
                if allowed is not None and np.any(lost + rise > allowed):
                    break
                tried = [*widths[:number], narrower, *widths[number + 1 :]]
                saved = now - total(tried)
                paid = max(float(rise @ prices), 1e-9) / max(saved, 1e-12)
                if paid < price:
                    best, price = tried, paid
                if now - saved <= share:
                    break
        if best is None:
            break
        widths = best
        now = total(widths)
    return widths
