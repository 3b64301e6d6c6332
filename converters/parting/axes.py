"""Where an axis comes from, seen back through an operator that moves elements about."""

from __future__ import annotations

import math

from multigraft.tensors.joining import Reshape, Transpose

Shape = tuple[int, ...]


def axis_before(moved: Reshape | Transpose, source: Shape, axis: int) -> int | None:
    """The axis of ``source`` that is axis ``axis`` of what ``moved`` makes of it; None if it is merged or split."""
    if isinstance(moved, Transpose):
        return moved.order[axis]
    size, before = moved.shape[axis], math.prod(moved.shape[:axis])
    return next((i for i, n in enumerate(source) if n == size and math.prod(source[:i]) == before), None)
