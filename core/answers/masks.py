"""Masks: where their pixels lie, from prototypes to an input, from an input to a frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array, Float64Array

Mask = npt.NDArray[np.bool_]
Block = tuple[slice, slice]


def block_of(box: Float32Array) -> Block:
    """Rows and columns of the pixels that a box (left, top, right, bottom) touches.

    From the floor of its left and upper edge to the ceiling of its right and lower one; empty where it has no width
    or height, or isn't finite.
    """
    if not np.isfinite(box).all() or not (box[2:] > box[:2]).all():
        return slice(0, 0), slice(0, 0)
    left, top = np.floor(box[:2].astype(np.float64)).astype(int).tolist()
    right, bottom = np.ceil(box[2:].astype(np.float64)).astype(int).tolist()
    return slice(top, bottom), slice(left, right)


def mask_of_prototypes(
    coefficients: Float32Array, prototypes: Float32Array, block: Block, size: tuple[int, int]
) -> Mask:
    """Pixels of a block of an input where the weighted sum of the prototypes, between its pixels linear, is above 0.

    Above 0 is above one half after a sigmoid. Source: YOLACT (arXiv:1904.02689), section 3.1; resampling as
    Ultralytics does it (pixel centres at halves).

    Args:
        coefficients: (k,).
        prototypes: (k, rows, columns), spanning the whole input.
        block: Of the input, within it.
        size: Rows and columns of the input, pixels.
    """
    rows, columns = block
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return np.zeros((max(rows.stop - rows.start, 0), max(columns.stop - columns.start, 0)), np.bool_)
    top, bottom, down = _neighbours(rows, size[0], prototypes.shape[1])
    left, right, across = _neighbours(columns, size[1], prototypes.shape[2])
    y, x = slice(int(top[0]), int(bottom[-1]) + 1), slice(int(left[0]), int(right[-1]) + 1)
    sums = np.tensordot(coefficients, prototypes[:, y, x], axes=1)
    by_row = sums[top - y.start] + (sums[bottom - y.start] - sums[top - y.start]) * down[:, None]
    low, high = by_row[:, left - x.start], by_row[:, right - x.start]
    mask: Mask = low + (high - low) * across > 0
    return mask


def placed_mask(mask: Mask, block: Block, placement: Placement, placed: Block) -> Mask:
    """A mask of a block of the input, as a mask of a block of the frame: each pixel of the frame is of the thing where
    its centre lies on a pixel of the input that is.
    """
    rows, columns = placed
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if not mask.size or height <= 0 or width <= 0:
        return np.zeros((max(height, 0), max(width, 0)), np.bool_)
    back = placement.inverse()
    x = np.arange(columns.start, columns.stop) + 0.5
    y = np.arange(rows.start, rows.stop) + 0.5
    if back[0, 1] == 0 and back[1, 0] == 0:
        inner_x, in_x = _within(back[0, 0] * x + back[0, 2], block[1])
        inner_y, in_y = _within(back[1, 1] * y + back[1, 2], block[0])
        straight: Mask = mask[np.ix_(inner_y, inner_x)]
        straight[~in_y] = False
        straight[:, ~in_x] = False
        return straight
    turned = np.empty((height, width), np.bool_)
    for i, row in enumerate(y.tolist()):
        inner_x, in_x = _within(back[0, 0] * x + back[0, 1] * row + back[0, 2], block[1])
        inner_y, in_y = _within(back[1, 0] * x + back[1, 1] * row + back[1, 2], block[0])
        turned[i] = mask[inner_y, inner_x] & in_x & in_y
    return turned


def _neighbours(
    pixels: slice, full: int, coarse: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32Array]:
    """For each pixel of one axis the two prototype pixels around its centre, and how far it is towards the second."""
    where = np.clip((np.arange(pixels.start, pixels.stop) + 0.5) * (coarse / full) - 0.5, 0, coarse - 1)
    first = np.floor(where).astype(np.intp)
    return first, np.minimum(first + 1, coarse - 1), (where - first).astype(np.float32)


def _within(where: Float64Array, block: slice) -> tuple[npt.NDArray[np.intp], Mask]:
    """Numbers within a block of the pixels at these coordinates, and which of them lie within."""
    inner = np.floor(np.clip(where, -1e6, 1e6)).astype(np.intp) - block.start
    last = block.stop - block.start - 1
    return np.clip(inner, 0, last), (inner >= 0) & (inner <= last)
