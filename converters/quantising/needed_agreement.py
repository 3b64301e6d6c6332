"""How often a quantised network has to answer as the float one, so that a budget can still be shown."""

from __future__ import annotations

from multigraft.agreement.agreement import Agreement
from multigraft.agreement.binomial import lower_bound, lower_bound_of_mean

_GRADED = frozenset({"segmentation", "detection", "landmarks"})
"""Kinds with frames that agree in part, whose bound is the wider one."""


def needed_agreement(minimum: float, confidence: float, frames: int, kind: str, grafted: Agreement | None) -> float:
    """The mean score, 0..1, that quantisation has to keep.

    Args:
        minimum: Lower bound that has to be shown.
        confidence: Of that bound.
        frames: Held-out frames it will be shown on, at least 1.
        kind: Of the task.
        grafted: What grafting left of the agreement on those frames; None for a task that was not grafted.

    Returns:
        1 where nothing may be lost any more.
    """
    bound = lower_bound_of_mean if kind in _GRADED else lower_bound
    least, most = 0, frames
    while least < most:
        middle = (least + most) // 2
        if bound(middle, frames, confidence) >= minimum:
            most = middle
        else:
            least = middle + 1
    lost = 1 - (grafted.value if grafted else 1.0)
    return min(1.0, least / frames + lost)
