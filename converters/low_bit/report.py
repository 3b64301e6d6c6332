"""Which layers got few bits, what each cost and gave, and whether that was worth it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from multigraft.converters.low_bit.layer import Bits
from multigraft.converters.low_bit.outcome import Outcome


@dataclass(frozen=True)
class LowLayer:
    """One layer with few bits.

    Attributes:
        tensor: What it writes, which is its name in the network.
        operator: What it was before.
        bits: Of its weights.
        bytes_before: Of its weights in int8.
        bytes_after: Now, with what lays its windows side by side.
        error: Squared error of its results over their variance, all layers before it in few bits too.
        noise_db: Of the network's outputs where it alone has few bits: signal over noise, dB; None if not measured.
        latency_us: How much longer it takes here on its own, one thread, microseconds; None if not measured.
    """

    tensor: str
    operator: str
    bits: Bits
    bytes_before: int
    bytes_after: int
    error: float
    noise_db: float | None = None
    latency_us: float | None = None

    def sentence(self) -> str:
        """For people."""
        noise = "" if self.noise_db is None else f", alone it leaves {self.noise_db:.1f} dB at the outputs"
        time = "" if self.latency_us is None else f", {self.latency_us:+.0f} us"
        saved = f"{self.bytes_before:,} become {self.bytes_after:,} bytes"
        return f"{self.bits}-bit weights in {self.tensor} ({self.operator}): {saved}{noise}{time}"


@dataclass(frozen=True)
class LowBits(Outcome):
    """What came of weights of few bits.

    Attributes:
        layers: Those with few bits, in running order.
        refused: Layer to why it keeps 8 bits although few were asked for.
    """

    layers: tuple[LowLayer, ...]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_int8_better(self) -> bool:
        """Whether so little is saved that int8 is the better answer."""
        return not self.is_smaller

    def declined(self) -> Self:
        """What is to be said where int8 is kept all the same."""
        return dataclasses.replace(self, layers=())

    def _kept(self) -> list[str]:
        return [f"{name} keeps 8-bit weights: {why}" for name, why in self.refused.items()]

    def _gained(self) -> str:
        return (
            f"{len(self.layers)} of {self.candidates} layers have few bits: weights and values take "
            f"{self.memory_after:,} bytes of memory in place of {self.memory_before:,} "
            f"({100 * self.saved:.0f} % less)"
        )

    def _why_int8(self) -> str:
        if not self.candidates:
            return "int8 is the better answer: no layer here has weights that few bits would make smaller."
        if not self.layers:
            kept = "" if self.minimum is None else f" and keep an agreement of at least {self.minimum:g}"
            return f"int8 is the better answer: none of {self.candidates} layers can have few bits{kept}."
        saved = f"few bits save {self.memory_before - self.memory_after:,} bytes ({100 * self.saved:.1f} %) of memory"
        return f"int8 is the better answer for memory: {saved}, and what they bring along takes about half a MiB."

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        said = super().to_json()
        if self.refused:
            said["refused"] = dict(self.refused)
        return said
