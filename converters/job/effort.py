"""What a search may spend on large networks. Small ones are searched whole at every level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

EffortLevel = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Effort:
    """Bounds of one level; 10**12 multiply-accumulates of a MobileNetV2 are about a minute of two cores.

    Attributes:
        search_macs: Cut points of a large network are tried while evaluating them takes no more multiply-accumulates.
        halvings: Cut points of a large network that are tried at most.
        refit_macs: A graft is solved on about as many frames as so many multiply-accumulates run.
        probed_macs: A channel's weight in the answers is measured on about as many frames.
        rounds: In which the narrowest network is looked for, at most.
    """

    search_macs: int
    halvings: int
    refit_macs: int
    probed_macs: int
    rounds: int


EFFORTS: Mapping[EffortLevel, Effort] = {
    "low": Effort(10**12, 3, 15 * 10**9, 200 * 10**9, 2),
    "medium": Effort(4 * 10**12, 4, 30 * 10**9, 400 * 10**9, 4),
    "high": Effort(32 * 10**12, 6, 120 * 10**9, 1600 * 10**9, 6),
}

MEDIUM = EFFORTS["medium"]
