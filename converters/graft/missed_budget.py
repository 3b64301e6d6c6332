"""A key of ``[budget]`` that a plan or a bundle does not keep: the figure, the limit, and both in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Miss:
    """One key that is missed.

    Attributes:
        key: As in the settings.
        figure: What was found, in the unit of ``limit``; of an agreement its lower bound. None where it could not be
            measured: what is not shown is not kept.
        limit: What was asked for.
        task: Whose agreement it is, or None.
        samples: Frames or runs behind the figure; None where it is an exact count.
        issue: Why it could not be measured, or what of the answer suffers.
    """

    key: str
    figure: float | None
    limit: float
    task: str | None = None
    samples: int | None = None
    issue: str = ""

    def __str__(self) -> str:
        if self.figure is None:
            return f"{self.key} = {self.limit:g} (not measured: {self.issue})"
        issue = f"; {self.issue}" if self.issue else ""
        return _WORDS[self.key].format(
            figure=self.figure, limit=self.limit, task=self.task, samples=f"{self.samples or 0:,}", issue=issue
        )


_WORDS = {
    "min_agreement": "min_agreement = {limit:g} ({task} shows {figure:.4f} on {samples} frames{issue})",
    "max_weights_bytes": "max_weights_bytes = {limit:.0f} (it has {figure:.0f})",
    "max_macs": "max_macs = {limit:.0f} (it has {figure:.0f})",
    "max_latency_us": "max_latency_us = {limit:g} (it takes {figure:.0f}, the median of {samples} runs here)",
}


def in_words(misses: Sequence[Miss]) -> str:
    """All of them, after a verb: ``misses A (...) and B (...)``."""
    *first, last = map(str, misses)
    return f"{', '.join(first)} and {last}" if first else last
