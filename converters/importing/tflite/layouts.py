"""The two layouts of a tensor: as TFLite has it, channels last, and channels first as ONNX's operators take it.

Tensors of rank 3 and more have both: with channels first the last dimension stands behind the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Form = Literal["last", "first"]
LEAST_RANK = 3


def to_first(rank: int) -> list[int]:
    """Permutation from channels last to channels first."""
    return [0, rank - 1, *range(1, rank - 1)]


def to_last(rank: int) -> list[int]:
    """Permutation from channels first to channels last."""
    return [0, *range(2, rank), 1]


def axis_in(form: Form, axis: int, rank: int) -> int:
    """Where dimension ``axis`` of TFLite's layout stands in ``form``; negative ones count from the end."""
    axis %= rank
    if form == "last" or rank < LEAST_RANK or axis == 0:
        return axis
    return 1 if axis == rank - 1 else axis + 1


def in_form(form: Form, values: Sequence[int]) -> tuple[int, ...]:
    """One value for each dimension of TFLite's layout, in the order of ``form``."""
    if form == "last" or len(values) < LEAST_RANK:
        return tuple(values)
    return tuple(values[i] for i in to_first(len(values)))


def keeps_order(shape: Sequence[int], permutation: Sequence[int]) -> bool:
    """Whether the permutation moves nothing but dimensions of one: a reshape does the same."""
    moved = [p for p in permutation if shape[p] != 1]
    return moved == sorted(moved)
