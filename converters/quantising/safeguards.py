"""What a build asks of the precision of its layers, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multigraft.converters.network.frames import Frames
from multigraft.converters.quantising.improve import Improvement
from multigraft.converters.quantising.layer_error import LayerError
from multigraft.converters.quantising.rescue import Rescue

MIN_LAYER_SQNR_DB = 15.0
"""Noise of 3 % of a layer's power: rounding to 8 bits alone leaves 30 dB and more."""

MOST_NAMED = 5


@dataclass(frozen=True)
class Safeguards:
    """What is asked for.

    Attributes:
        min_layer_sqnr_db: A layer with less (its own error, in dB) is named.
        lacking: Task to the rise of its agreement, 0..1, for which layers are kept in float; may be empty.
        measured: Task to the agreement, 0..1, that ``lacking`` is missing from, on frames held out.
        frames: Task to the frames, by input, on which that rise is measured; other inputs get frames anyway.
        tolerances: Task to what still counts as equal answers, as its settings say; None for the default of its kind.
        spared_bytes: Bytes of weights that sharing and thinning save beside the networks apart.
    """

    min_layer_sqnr_db: float = MIN_LAYER_SQNR_DB
    lacking: Mapping[str, float] = field(default_factory=dict)
    frames: Mapping[str, Mapping[str, Frames]] = field(default_factory=dict)
    tolerances: Mapping[str, float | None] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    spared_bytes: int = 0


@dataclass(frozen=True)
class Safety:
    """What came of it.

    Attributes:
        improvement: Equalisation and bias correction.
        rescue: Layers kept in float for an agreement; None where none had to be.
        noisy: Layers below the limit, the noisiest first.
        asked: What was asked for.
    """

    improvement: Improvement
    rescue: Rescue | None
    noisy: tuple[LayerError, ...]
    asked: Safeguards

    def sentences(self) -> list[str]:
        """For people; empty if there is nothing to say."""
        rescued = [*self.rescue.sentences(), *self._poor_bargain()] if self.rescue else []
        return [*self.improvement.sentences(), *rescued, *self._noise()]

    def to_json(self) -> dict[str, Any]:
        """For the manifest's provenance; empty if there is nothing to say."""
        said = self.improvement.to_json()
        if self.rescue:
            said["rescue"] = self.rescue.to_json()
        if self.noisy:
            said["noisy_layers"] = [dataclasses.asdict(layer) for layer in self.noisy]
        return said

    def _poor_bargain(self) -> list[str]:
        """Whether int8 needs back more than the plan saved: it had less to lose than the networks as they came."""
        spared = self.asked.spared_bytes
        if self.rescue is None or not 0 < spared < self.rescue.weights_bytes:
            return []
        return [
            f"That is more than the {spared:,} bytes of weights that sharing and thinning save, and what they cost of "
            'the budget int8 lacks: without them (--share TASK=none, thin = "none") the bundle may be smaller.'
        ]

    def _noise(self) -> list[str]:
        if not self.noisy:
            return []
        names = ", ".join(f"{n.tensor} ({n.operator}, {n.own_sqnr_db:.1f} dB)" for n in self.noisy[:MOST_NAMED])
        more = f" and {len(self.noisy) - MOST_NAMED} more" if len(self.noisy) > MOST_NAMED else ""
        return [
            f"Noisy once quantised, below {self.asked.min_layer_sqnr_db:g} dB on its own: {names}{more}; "
            "keep_float can leave it in float."
        ]
