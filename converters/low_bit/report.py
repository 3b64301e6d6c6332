"""Which layers got few bits, what each cost and gave, and whether that was worth it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from multigraft.agreement.agreement import Agreement
from multigraft.converters.low_bit.layer import Bits
from multigraft.converters.settings.convert_settings import Weights

LEAST_SAVED = 0.1
"""Of a network's memory: with less saved, int8 is the better answer."""
LEAST_SAVED_BYTES = 1 << 19
"""What opening a second model, other kernels and windows were seen to take: 0.3 to 0.5 MiB of PSS."""


def beside_int8(before: Mapping[str, Agreement], after: Mapping[str, Agreement]) -> str:
    """The end of a sentence: how often each task agrees now, and did in int8; "" where that is not known."""
    return "".join(
        f"; {task} agrees in {now.value:.4f} of {now.frames} frames (int8: {before[task].value:.4f})"
        for task, now in after.items()
        if task in before
    )


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
class LowBits:
    """What came of it.

    Attributes:
        asked: What was asked for.
        layers: Those with few bits, in running order.
        candidates: How many layers could have them.
        memory_before: Weights and values in int8, counted, bytes.
        memory_after: Likewise, now.
        before: Task to its agreement in int8; empty where nothing was judged.
        after: Task to its agreement now.
        minimum: The least lower bound of agreement that was asked for; None if none was.
        refused: Layer to why it keeps 8 bits although few were asked for.
    """

    asked: Weights
    layers: tuple[LowLayer, ...]
    candidates: int
    memory_before: int
    memory_after: int
    before: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    after: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    minimum: float | None = None
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def saved(self) -> float:
        """Share of the memory, 0..1."""
        return 1 - self.memory_after / max(1, self.memory_before)

    @property
    def is_int8_better(self) -> bool:
        """Whether so little is saved that int8 is the better answer."""
        return self.saved < LEAST_SAVED or self.memory_before - self.memory_after < LEAST_SAVED_BYTES

    def declined(self) -> Self:
        """What is to be said where int8 is kept all the same."""
        return dataclasses.replace(self, layers=())

    def sentences(self) -> list[str]:
        """For people: each layer, then the whole."""
        said = [layer.sentence() for layer in self.layers]
        said += [f"{name} keeps 8-bit weights: {why}" for name, why in self.refused.items()]
        agreed = beside_int8(self.before, self.after)
        if self.layers:
            said.append(
                f"{len(self.layers)} of {self.candidates} layers have few bits: weights and values take "
                f"{self.memory_after:,} bytes of memory in place of {self.memory_before:,} "
                f"({100 * self.saved:.0f} % less){agreed}."
            )
        if self.is_int8_better:
            said.append(self._why_int8())
        return said

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
        layers = [{k: v for k, v in dataclasses.asdict(one).items() if k != "latency_us"} for one in self.layers]
        said: dict[str, Any] = {"weights": self.asked, "candidates": self.candidates, "layers": layers}
        said |= {"memory_before": self.memory_before, "memory_after": self.memory_after}
        if self.refused:
            said["refused"] = dict(self.refused)
        return said
