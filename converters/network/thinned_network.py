"""A network of a plan that has fewer channels than it came with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multigraft.agreement.agreement import Agreement
from multigraft.converters.network.network import Network


@dataclass(frozen=True)
class ThinnedLayer:
    """One layer that writes fewer channels.

    Attributes:
        name: Its tensor.
        channels: How many there were.
        kept: How many are left.
        relative_error: Of what it gives, squared, over the variance of what it gave; 0 where nothing changed for it.
    """

    name: str
    channels: int
    kept: int
    relative_error: float


@dataclass(frozen=True)
class ThinnedTail:
    """What a grafted task's own part lost, where the trunk that it stands on keeps its channels.

    Attributes:
        layers: That write fewer channels.
        weights: Parameters of the part before.
        macs: Multiply-accumulates of it before.
    """

    layers: tuple[ThinnedLayer, ...]
    weights: int
    macs: int


@dataclass(frozen=True)
class ThinnedNetwork:
    """What stands in a plan for a network that is not grafted.

    Attributes:
        network: With fewer channels.
        agreement: With the original network on the frames that choose; None where it was not measured.
        layers: That write fewer channels, those of the tails on its trunk included.
        weights: Parameters of the original.
        macs: Multiply-accumulates of the original.
    """

    network: Network
    agreement: Agreement | None
    layers: tuple[ThinnedLayer, ...]
    weights: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "weights": [self.weights, self.network.weights],
            "macs": [self.macs, self.network.macs],
            "layers": [vars(layer) for layer in self.layers],
        }
