"""What rules of shapes are written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.flatbuffer import DamagedError

Shape = tuple[int, ...]
Constants = Callable[[int], Sequence[int]]
"""Number of an input to its constant integers."""


class ContradictionError(DamagedError):
    """An operator's inputs and options do not go together."""


def demand(holds: bool) -> None:
    """Raises:
    ContradictionError: It does not hold.
    """
    if not holds:
        raise ContradictionError


def shape_of(operator: Operator, place: int, rank: int | None = None) -> Shape:
    tensor = operator.inputs[place]
    demand(tensor is not None and (rank is None or len(tensor.shape) == rank))
    assert tensor is not None
    return tensor.shape


def axis_within(axis: int, rank: int) -> int:
    demand(-rank <= axis < rank)
    return axis % rank


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's rule."""
    rank = max(len(shape) for shape in shapes)
    result = []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        demand(len(wide) <= 1)
        result.append(wide.pop() if wide else 1)
    return tuple(result)
