"""What statistics are about: the networks that were watched and where they were tapped."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from multigraft.answers.crops import On
from multigraft.answers.kind import Kind


@dataclass(frozen=True)
class Tap:
    """A cut point.

    Attributes:
        name: ``network/tensor``.
        network: Its network.
        shape: Without the batch axis, channels last.
        sampled: Features in each of the two random samples per minibatch that its similarity was computed from; 0 where
            all features were used.
    """

    name: str
    network: str
    shape: tuple[int, ...]
    sampled: int = 0

    @property
    def features(self) -> int:
        """Numbers per frame."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class TappedNetwork:
    """A network that was watched: its task's kind, its input and its outputs."""

    name: str
    kind: Kind
    input: str
    outputs: tuple[str, ...]
    source_sha256: str = ""


@dataclass(frozen=True)
class Subject:
    """What the numbers are about; only statistics of equal subjects merge.

    Attributes:
        model_sha256: SHA-256 of the tapped model.
        networks: In order.
        taps: In the order of the similarity sums.
        seed: Seed of the random projections.
        pairs: Taps of two networks with equal positions, between which second moments are kept.
        crops: Through whose boxes the networks look, see :func:`multigraft.answers.crops.way_to_crops`; empty for whole
            frames.
    """

    model_sha256: str
    networks: tuple[TappedNetwork, ...]
    taps: tuple[Tap, ...]
    seed: int = 0
    pairs: tuple[tuple[str, ...], ...] = ()
    crops: tuple[On, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data; of whole frames, as before there were others."""
        plain = dataclasses.asdict(self)
        if not self.crops:
            del plain["crops"]
        return plain
