"""What came of fewer bits in some layers of an int8 network: what every kind of them has in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from multigraft.agreement.agreement import Agreement
from multigraft.converters.settings.convert_settings import Weights

LEAST_SAVED = 0.1
"""Of a network's memory: with less saved, that is no reason to leave int8."""
LEAST_SAVED_BYTES = 1 << 19
"""What opening a second model, other kernels and windows were seen to take: 0.3 to 0.5 MiB of PSS."""


@dataclass(frozen=True)
class Outcome(abc.ABC):
    """What came of it.

    Attributes:
        asked: What was asked for.
        layers: Those with fewer bits, in running order: dataclasses with a ``tensor`` and a ``sentence``.
        candidates: How many layers could have them.
        memory_before: Weights and values in int8, counted, bytes.
        memory_after: Likewise, now.
        before: Task to its agreement in int8; empty where nothing was judged.
        after: Task to its agreement now.
        minimum: The least lower bound of agreement that was asked for; None if none was.
    """

    asked: Weights
    layers: tuple[Any, ...]
    candidates: int
    memory_before: int
    memory_after: int
    before: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    after: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)
    minimum: float | None = None

    @property
    def saved(self) -> float:
        """Share of the memory, 0..1."""
        return 1 - self.memory_after / max(1, self.memory_before)

    @property
    def is_smaller(self) -> bool:
        """Whether memory is saved that is worth leaving int8."""
        return self.saved >= LEAST_SAVED and self.memory_before - self.memory_after >= LEAST_SAVED_BYTES

    @property
    @abc.abstractmethod
    def is_int8_better(self) -> bool:
        """Whether so little is gained that int8 is the better answer."""

    @abc.abstractmethod
    def declined(self) -> Self:
        """What is to be said where int8 is kept all the same."""

    def sentences(self) -> list[str]:
        """For people: each layer, then the whole."""
        said = [*(layer.sentence() for layer in self.layers), *self._kept()]
        if self.layers:
            said.append(f"{self._gained()}{self._beside_int8()}.")
        if self.is_int8_better:
            said.append(self._why_int8())
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest; without times, so that equal builds give equal bundles."""
        layers = [{k: v for k, v in dataclasses.asdict(one).items() if k != "latency_us"} for one in self.layers]
        said: dict[str, Any] = {"weights": self.asked, "candidates": self.candidates, "layers": layers}
        return said | {"memory_before": self.memory_before, "memory_after": self.memory_after}

    @abc.abstractmethod
    def _kept(self) -> list[str]:
        """Which layers stay as they were, and why."""

    @abc.abstractmethod
    def _gained(self) -> str:
        """A sentence without its end: what all layers together gain."""

    @abc.abstractmethod
    def _why_int8(self) -> str:
        """Why int8 is the better answer, where it is."""

    def _beside_int8(self) -> str:
        """The end of a sentence: how often each task agrees now, and did in int8; "" where that is not known."""
        return "".join(
            f"; {task} agrees in {now.value:.4f} of {now.frames} frames (int8: {self.before[task].value:.4f})"
            for task, now in self.after.items()
            if task in self.before
        )
