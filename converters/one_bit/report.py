"""Which layers got 1 bit, what each cost and gave, and whether that was worth it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from multigraft.agreement.agreement import Agreement
from multigraft.converters.low_bit.report import LEAST_SAVED, LEAST_SAVED_BYTES, beside_int8
from multigraft.converters.settings.convert_settings import Weights

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
class OneBits:
    """What came of it.

    Attributes:
        asked: What was asked for.
        layers: Those with 1 bit, in running order.
        candidates: How many layers could have it.
        latency_before_us: Of the whole network in int8, here, one thread, microseconds.
        latency_after_us: Likewise, now.
        memory_before: Weights and values in int8, counted, bytes.
        memory_after: Likewise, now.
        refitted: int8 layers behind them that were solved anew.
        before: Task to its agreement in int8; empty where nothing was judged.
        after: Task to its agreement now.
        minimum: The least lower bound of agreement that was asked for; None if none was.
        missed: Layers that were tried and given up, since the agreement was lost.
        useless: Layers that gain neither time nor memory.
        is_declined: int8 was kept all the same.
    """

    asked: Weights
    layers: tuple[OneBitLayer, ...]
    candidates: int
    latency_before_us: float
    latency_after_us: float
    memory_before: int
    memory_after: int
    refitted: tuple[str, ...] = ()
    before: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    after: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    minimum: float | None = None
    missed: tuple[str, ...] = ()
    useless: tuple[str, ...] = ()
    is_declined: bool = False

    @property
    def is_int8_better(self) -> bool:
        """Whether so little is gained that int8 is the better answer."""
        saved = self.memory_before - self.memory_after
        is_smaller = self._smaller >= LEAST_SAVED and saved >= LEAST_SAVED_BYTES
        return self._faster < LEAST_FASTER and not is_smaller

    @property
    def _faster(self) -> float:
        return 1 - self.latency_after_us / max(self.latency_before_us, 1e-9)

    @property
    def _smaller(self) -> float:
        return 1 - self.memory_after / max(self.memory_before, 1)

    def declined(self) -> Self:
        """What is to be said where int8 is kept all the same."""
        return dataclasses.replace(self, is_declined=True)

    def sentences(self) -> list[str]:
        """For people: each layer, then the whole."""
        said = [layer.sentence() for layer in self.layers]
        if self.missed:
            said.append(f"given up, since too many answers changed: {', '.join(self.missed)}")
        if self.useless:
            said.append(f"neither faster nor smaller with 1 bit: {', '.join(self.useless)}")
        agreed = beside_int8(self.before, self.after)
        if self.layers:
            said.append(
                f"{len(self.layers)} of {self.candidates} convolutions have 1 bit, {len(self.refitted)} int8 layers "
                f"behind them were solved anew: {self.latency_after_us:.0f} us in place of "
                f"{self.latency_before_us:.0f}, {self.memory_after:,} bytes of memory in place of "
                f"{self.memory_before:,}{agreed}."
            )
        if self.is_int8_better:
            said.append(self._why_int8())
        return said

    def _why_int8(self) -> str:
        if not self.candidates:
            return "int8 is the better answer: no convolution here lies between a first and a last layer."
        if not self.layers:
            kept = "" if self.minimum is None else f" and keeps an agreement of at least {self.minimum:g}"
            return f"int8 is the better answer: none of {self.candidates} convolutions gains by 1 bit{kept}."
        gained = f"{100 * self._faster:.1f} % of the time and {100 * self._smaller:.1f} % of the memory"
        return f"int8 is the better answer: 1 bit saves {gained}{', so int8 is kept' if self.is_declined else ''}."

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        layers = [{k: v for k, v in dataclasses.asdict(one).items() if k != "latency_us"} for one in self.layers]
        said: dict[str, Any] = {"weights": self.asked, "candidates": self.candidates, "layers": layers}
        return said | {
            "memory_before": self.memory_before,
            "memory_after": self.memory_after,
            "refitted": list(self.refitted),
        }
