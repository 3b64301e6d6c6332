"""Which layers got 1 bit, what each cost and gave, and whether that was worth it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from multigraft.converters.low_bit.outcome import Outcome

LEAST_FASTER = 0.05
"""Of a network's time: with less gained, and too little memory, int8 is the better answer."""


@dataclass(frozen=True)
class OneBitLayer:
    """One layer with values and weights of 1 bit.

    Attributes:
        tensor: What it writes, which is its name in the network.
        operator: What it was before.
        bases: Binary bases of its weights.
        bytes_before: Of its weights in int8.
        bytes_after: Now, with multipliers, biases and cuts.
        error: Squared error of its results over their variance, all layers before it as they are now.
        noise_db: Of the network's outputs where it alone has 1 bit: signal over noise, dB.
        latency_us: How much longer it takes here on its own, one thread, microseconds.
    """

    tensor: str
    operator: str
    bases: int
    bytes_before: int
    bytes_after: int
    error: float
    noise_db: float
    latency_us: float

    def sentence(self) -> str:
        """For people."""
        kind = "1 bit" if self.bases == 1 else f"1 bit and {self.bases} bases"
        saved = f"{self.bytes_before:,} become {self.bytes_after:,} bytes"
        noise = f"alone it leaves {self.noise_db:.1f} dB at the outputs"
        return f"{kind} in {self.tensor} ({self.operator}): {saved}, {noise}, {self.latency_us:+.0f} us"


@dataclass(frozen=True)
class OneBits(Outcome):
    """What came of values and weights of 1 bit.

    Attributes:
        layers: Those with 1 bit, in running order.
        latency_before_us: Of the whole network in int8, here, one thread, microseconds.
        latency_after_us: Likewise, now.
        refitted: int8 layers behind them that were solved anew.
        missed: Layers that were tried and given up, since the agreement was lost.
        useless: Layers that gain neither time nor memory.
        is_declined: int8 was kept all the same.
    """

    layers: tuple[OneBitLayer, ...]
    latency_before_us: float = dataclasses.field(kw_only=True)
    latency_after_us: float = dataclasses.field(kw_only=True)
    refitted: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    useless: tuple[str, ...] = ()
    is_declined: bool = False

    @property
    def is_int8_better(self) -> bool:
        """Whether so little is gained that int8 is the better answer."""
        return self._faster < LEAST_FASTER and not self.is_smaller

    @property
    def _faster(self) -> float:
        return 1 - self.latency_after_us / max(self.latency_before_us, 1e-9)

    def declined(self) -> Self:
        """What is to be said where int8 is kept all the same."""
        return dataclasses.replace(self, is_declined=True)

    def _kept(self) -> list[str]:
        said = []
        if self.missed:
            said.append(f"given up, since too many answers changed: {', '.join(self.missed)}")
        if self.useless:
            said.append(f"neither faster nor smaller with 1 bit: {', '.join(self.useless)}")
        return said

    def _gained(self) -> str:
        return (
            f"{len(self.layers)} of {self.candidates} convolutions have 1 bit, {len(self.refitted)} int8 layers "
            f"behind them were solved anew: {self.latency_after_us:.0f} us in place of "
            f"{self.latency_before_us:.0f}, {self.memory_after:,} bytes of memory in place of "
            f"{self.memory_before:,}"
        )

    def _why_int8(self) -> str:
        if not self.candidates:
            return "int8 is the better answer: no convolution here lies between a first and a last layer."
        if not self.layers:
            kept = "" if self.minimum is None else f" and keeps an agreement of at least {self.minimum:g}"
            return f"int8 is the better answer: none of {self.candidates} convolutions gains by 1 bit{kept}."
        gained = f"{100 * self._faster:.1f} % of the time and {100 * self.saved:.1f} % of the memory"
        return f"int8 is the better answer: 1 bit saves {gained}{', so int8 is kept' if self.is_declined else ''}."

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        return super().to_json() | {"refitted": list(self.refitted)}
