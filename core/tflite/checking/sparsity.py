"""Sparse constants: rows of which only some elements are stored, as pruning leaves them (only DENSIFY reads them).

What is taken is the one form that converters write: all dimensions in order and dense but the last, whose elements are
stored row by row (CSR), without blocks. Source: tensorflow/lite/kernels/internal/utils/sparsity_format_converter.cc,
which follows segments and indices without looking.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from multigraft.tflite.checking.flatbuffer import DamagedError, Table

FIELDS = 3
_DIMENSION = 6
_DENSE, _CSR = 0, 1
_VECTORS = {1: "i", 2: "H", 3: "B"}
"""Number in the union ``SparseIndexVector`` to the format of its elements."""


def stored_elements(table: Table, shape: tuple[int, ...], number: int) -> int:
    """How many elements a sparse tensor's buffer holds.

    Args:
        table: Its ``SparsityParameters``.
        shape: Of the tensor.
        number: Of the tensor, for the message.

    Raises:
        DamagedError: It is stored in another form, or segments and indices do not fit the shape.
    """
    order, blocks = table.numbers(0, "i"), table.numbers(1, "i")
    dimensions = table.tables(2, _DIMENSION)
    if not shape or blocks or order != tuple(range(len(shape))) or len(dimensions) != len(shape):
        raise DamagedError(f"tensor {number} is sparse in a form that is not known here")
    for size, dimension in zip(shape[:-1], dimensions[:-1], strict=True):
        if dimension.number(0, "b") != _DENSE or dimension.number(1, "i") != size:
            raise DamagedError(f"tensor {number} is sparse in a form that is not known here")
    if dimensions[-1].number(0, "b") != _CSR:
        raise DamagedError(f"tensor {number} is sparse in a form that is not known here")
    segments, indices = _vector(dimensions[-1], 2), _vector(dimensions[-1], 4)
    if len(segments) != math.prod(shape[:-1]) + 1 or segments[0] != 0 or segments[-1] != len(indices):
        raise DamagedError(f"tensor {number} is sparse, and its rows do not fit its shape")
    if any(after < before for before, after in itertools.pairwise(segments)):
        raise DamagedError(f"tensor {number} is sparse, and its rows are not in order")
    if indices and not 0 <= min(indices) <= max(indices) < shape[-1]:
        raise DamagedError(f"tensor {number} is sparse, and an element lies outside of its row")
    return len(indices)


def _vector(dimension: Table, field: int) -> tuple[Any, ...]:
    kind = _VECTORS.get(dimension.number(field, "B"))
    held = dimension.table(field + 1, 1)
    if kind is None or held is None:
        raise DamagedError("a sparse tensor lacks its rows")
    return held.numbers(0, kind)
