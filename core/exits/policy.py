"""What a bundle says of an early exit or a gate: where it is, when it is taken, and what was promised of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Rule = Literal["probability", "margin", "entropy", "change", "far"]
"""What makes an answer sure: a high probability of the class, one far above that of the next class, a low entropy of
all (nats); of a gate, logits that are near those of the last frame that the whole network answered, or a
representation that is far from those of the frames of the fit."""

GATES: tuple[Rule, ...] = ("change", "far")
"""Rules of what gives no answer of its own."""

PromiseKind = Literal["selective", "marginal"]


@dataclass(frozen=True)
class Promise:
    """How often an exit may answer otherwise than the whole network, and what showed that it does not.

    Attributes:
        kind: ``selective``: share of the frames that take this exit; ``marginal``: share of all frames of the task.
        max_disagreement: That share, above 0 and below 1.
        confidence: Probability, over the frames that were drawn, with which the threshold keeps it.
        frames: Unlabeled frames that the threshold was tested on, none of which any fit has seen.
        reached: How many of them came as far as this exit.
        taken: How many took it.
        disagreed: How many of those the whole network answers otherwise; of a gate for far frames all.
        block: Frames that were counted as one, as neighbours err alike.
    """

    kind: PromiseKind
    max_disagreement: float
    confidence: float
    frames: int
    reached: int
    taken: int
    disagreed: int
    block: int = 1

    @property
    def rate(self) -> float:
        """Share of the frames that reach the exit and take it."""
        return self.taken / self.reached if self.reached else 0.0


@dataclass(frozen=True)
class Exit:
    """One early exit of a task, or its gate, which repeats the last answer or says that a frame is unknown.

    Attributes:
        segment: Which computes it.
        output: The tensor with its logits, one per class; of a gate for far frames its whitened values.
        rule: What makes an answer sure.
        temperature: Divides the logits first; above 0.
        threshold: Taken where probability or margin are at least, or the entropy (nats) or the Euclidean distance (of
            logits) at most, so large; of a gate for far frames where the distance is larger.
        promise: What was promised, and shown.
        audited: Share of the frames which take the exit that also run to the end, to see whether that still holds;
            0..1, 0 for none.
    """

    segment: str
    output: str
    rule: Rule
    temperature: float
    threshold: float
    promise: Promise
    audited: float = 0.0

    @property
    def is_gate(self) -> bool:
        """Whether it gives no answer of its own."""
        return self.rule in GATES

    @property
    def repeats(self) -> bool:
        """Whether it compares frames, and repeats the last answer."""
        return self.rule == "change"

    @property
    def is_far(self) -> bool:
        """Whether it tells frames that are far from those of the fit."""
        return self.rule == "far"

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: A number is out of its range.
        """
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"exit {self.segment} has temperature {self.temperature}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"exit {self.segment} has threshold {self.threshold}")
        if not 0 <= self.audited <= 1:
            raise ValueError(f"exit {self.segment} audits a share of {self.audited}")
        promise = self.promise
        if not (0 < promise.max_disagreement < 1 and 0 < promise.confidence < 1):
            raise ValueError(f"exit {self.segment} promises {promise.max_disagreement} at {promise.confidence}")
        if promise.block < 1:
            raise ValueError(f"exit {self.segment} counts in blocks of {promise.block}")
        if not 0 <= promise.disagreed <= promise.taken <= promise.reached <= promise.frames:
            raise ValueError(f"exit {self.segment} counts {promise.disagreed} of {promise.taken} of {promise.reached}")
