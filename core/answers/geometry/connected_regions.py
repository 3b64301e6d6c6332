"""Connected regions of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """Pixels that hang together.

    Attributes:
        rows: (r,) rows it has pixels in, rising.
        first: (r,) the leftmost column in each of them.
        last: (r,) the rightmost one, itself included.
        pixels: How many there are, gaps within a row not counted.
    """

    rows: Indices
    first: Indices
    last: Indices
    pixels: int


def connected_regions(mask: Mask, most: int) -> list[Region]:
    """Regions of a mask whose pixels touch by an edge or a corner, the largest first.

    Runs of pixels within rows are joined with those they touch in the next row; the work depends on the number of runs
    and not on their shapes.

    Args:
        mask: (rows, columns).
        most: Regions given at most.
    """
    height, width = mask.shape
    # A column of nothing at either side: no run reaches into the next row, even by a corner.
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded.reshape(-1))
    start, end = np.flatnonzero(change > 0) + 1, np.flatnonzero(change < 0) + 1
    if not len(start):
        return []
    stride = width + 2
    root = _joined(*_touching(start, end, stride), len(start))
    order = np.argsort(root, kind="stable")
    borders = np.flatnonzero(np.diff(root[order], prepend=-1))
    pixels = np.add.reduceat((end - start)[order], borders)
    largest = np.argsort(-pixels, kind="stable")[:most]
    ends = np.append(borders[1:], len(order))
    regions = []
    for i in largest.tolist():
        runs = order[borders[i] : ends[i]]
        rows = start[runs] // stride
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        lasts = np.append(firsts[1:], len(rows)) - 1
        row = rows[firsts]
        offset = row * stride + 1
        regions.append(Region(row, start[runs[firsts]] - offset, end[runs[lasts]] - 1 - offset, int(pixels[i])))
    return regions


def _touching(start: Indices, end: Indices, stride: int) -> tuple[Indices, Indices]:
    """Pairs of runs, the second a row below the first, that touch by an edge or a corner."""
    low = np.searchsorted(end, start + stride, "left")
    high = np.searchsorted(start, end + stride, "right")
    counts = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(len(start)), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    lower = np.repeat(low, counts) + np.arange(len(upper)) - before
    return upper, lower


def _joined(one: Indices, other: Indices, count: int) -> Indices:
    """For each of ``count`` things the number of its group, when these pairs belong together."""
    parent = np.arange(count)
    while len(one):
        a, b = parent[one], parent[other]
        differ = a != b
        one, other, a, b = one[differ], other[differ], a[differ], b[differ]
        # A root hangs itself on a lower one, so there is no circle; all ways are then made one step long.
        parent[np.maximum(a, b)] = np.minimum(a, b)
        while not np.array_equal(above := parent[parent], parent):
            parent = above
    return parent
