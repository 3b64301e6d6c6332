"""By how much the agreement of a bundle has to rise, so that its budget can be shown on the same held-out frames."""

from __future__ import annotations

from multigraft.agreement.agreement import Agreement
from multigraft.agreement.binomial import lower_bound, lower_bound_of_mean

_GRADED = frozenset({"segmentation", "detection", "landmarks"})
"""Kinds with frames that agree in part, whose bound is the wider one."""


def lacking_agreement(minimum: float, measured: Agreement) -> float:
    """The rise of the mean score, 0..1, after which its lower bound is at least ``minimum``; 0 if it is."""
    bound = lower_bound_of_mean if measured.kind in _GRADED else lower_bound
    if measured.lower_bound >= minimum:
        return 0.0
    least, most = 0, measured.frames
    while least < most:
        middle = (least + most) // 2
        if bound(middle, measured.frames, measured.confidence) >= minimum:
            most = middle
        else:
            least = middle + 1
    return max(0.0, least / measured.frames - measured.value)
