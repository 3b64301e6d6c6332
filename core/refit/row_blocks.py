"""Matrix products over many rows, on all cores, equal to the last bit on any number of them.

The order in which floats are added up decides their last bits. So rows are taken in blocks of one size, each by a
single thread, and the blocks' sums are added in their order. numpy's own threads (OpenBLAS) would take other blocks on
other machines: whoever wants equal bits sets ``OPENBLAS_NUM_THREADS=1``, and loses nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from multigraft.cores import usable_cores
from multigraft.tensors.arrays import Array, Float64Array

ROWS = 4096
"""Of a block."""

_WORTH_A_THREAD = 2e7
"""Multiplications; fewer take less time than threads do to begin."""

_MOST_THREADS = 8


def products(x: Array, y: Array) -> Float64Array:
    """The sum over rows of the outer products: ``x'y``.

    Args:
        x: (groups, rows, a).
        y: (groups, rows, b); may be ``x``.

    Returns:
        (groups, a, b).
    """
    total = np.zeros((x.shape[0], x.shape[2], y.shape[2]))
    for part in _blocks(lambda rows: x[:, rows].transpose(0, 2, 1) @ y[:, rows], x.shape[1], x.size * y.shape[2]):
        total += part
    return total


def times(x: Array, weight: Array) -> Array:
    """Every row of ``x`` (groups, rows, a) times ``weight`` (groups, a, b): (groups, rows, b)."""
    parts = list(_blocks(lambda rows: x[:, rows] @ weight, x.shape[1], x.size * weight.shape[2]))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _blocks(of: Callable[[slice], Array], rows: int, multiplications: int) -> Iterator[Array]:
    """``of`` every block, in order."""
    slices = [slice(first, first + ROWS) for first in range(0, max(rows, 1), ROWS)]
    threads = min(usable_cores(), len(slices), _MOST_THREADS)
    if threads == 1 or multiplications < _WORTH_A_THREAD:
        yield from map(of, slices)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(of, slices)
