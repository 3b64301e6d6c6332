"""Times of tasks made up in milliseconds, and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.runtime.scheduling.rates import TaskRate, parse_rates
from multigraft.runtime.scheduling.times import Times


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def times(trunk_ms: float, heads_ms: Mapping[str, float], rounds: int = 1) -> Times:
    """One trunk for all."""
    parts = {task: ["trunk", task] for task in heads_ms}
    seconds = {"trunk": [trunk_ms / 1000] * rounds}
    return Times(parts, {**seconds, **{task: [ms / 1000] * rounds for task, ms in heads_ms.items()}})


def rates(*texts: str) -> Sequence[TaskRate]:
    """As typed."""
    return parse_rates(texts)[1]
