"""One output that holds the cells of all levels in a row, each with its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.answers.decoding.hints import size_text
from multigraft.answers.decoding.levels import cells_of
from multigraft.answers.family import Evidence, Shape

STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Levels that YOLO-like networks have: P3 to P5, to P6, from P2, and tiny ones of two."""


@dataclass(frozen=True)
class Cells:
    """How such an output is read.

    Attributes:
        numbers: Per cell.
        strides: Of its levels, pixels of the input.
        is_by_cell: Whether it is (cells, numbers) rather than (numbers, cells).
    """

    numbers: int
    strides: tuple[int, ...]
    is_by_cell: bool


def read_cells(
    evidence: Evidence,
    output: int,
    per_cell: int = 1,
    sets: tuple[tuple[int, ...], ...] = STRIDES,
) -> Cells | str:
    """How an output is read, or a clause that says why it isn't one of cells."""
    shape = evidence.shapes[output]
    if len(shape) == 2:
        for strides in sets:
            count = cells_of(evidence.size, strides, per_cell)
            if count in shape:
                axis = 1 if shape[1] == count else 0
                return Cells(shape[1 - axis], strides, axis == 0)
    count = cells_of(evidence.size, sets[0], per_cell)
    if len(shape) != 2:
        return f"output {output} is {size_text(shape)} in place of two axes, numbers and {count} cells"
    return f"output {output} is {size_text(shape)} and has to have {count} cells for an input of this size"


def is_by_cell(shape: Shape, size: tuple[int, ...], strides: tuple[int, ...], per_cell: int = 1) -> bool:
    """Whether an output of that shape is (cells, numbers) rather than (numbers, cells)."""
    return shape[1] != cells_of(size, strides, per_cell)
