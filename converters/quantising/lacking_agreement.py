"""By how much the agreement of a bundle has to rise, so that its budget can be shown on the same held-out frames."""

from __future__ import annotations

from multigraft.agreement.agreement import Agreement
from multigraft.agreement.betting import lower_bound_of_count


def lacking_agreement(minimum: float, measured: Agreement) -> float:
    """The rise of the mean score, 0..1, after which its lower bound is at least ``minimum``; 0 if it is.

    Where frames agree in part, less may be enough: it is for scores of 0 and 1, which have the lowest bound.
    """
    if measured.lower_bound >= minimum:
        return 0.0
    least, most = 0, measured.frames
    while least < most:
        middle = (least + most) // 2
        if lower_bound_of_count(middle, measured.frames, measured.confidence, measured.is_graded) >= minimum:
            most = middle
        else:
            least = middle + 1
    return max(0.0, least / measured.frames - measured.value)
