"""What is measured on a camera frame itself: brightness, sharpness, and how much it differs from another."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from multigraft.calibration.collect.row_quality import row_difference
from multigraft.statistics.value_histogram import Counts
from multigraft.tensors.arrays import Float32Array, Float64Array
from multigraft.tensors.preprocessing import Frame

SAMPLED = 128
"""Rows and columns looked at, at most: evenly spaced for brightness and difference, the centre for sharpness."""

CELLS = 8
BRIGHTNESS_BINS = 64
SHARPNESS_BINS = 64

Signature = Float32Array


def signature(frame: Frame) -> Signature:
    """Mean grey of the cells of an 8 x 8 grid, 0..255: float32, 8 x 8 (fewer where a side is shorter)."""
    sampled, rows, columns = _averaging(frame.shape)
    if sampled is not None:
        frame = frame[sampled]
    means: Signature = rows @ frame.reshape(len(frame), -1).astype(np.float32) @ columns
    return means


@functools.lru_cache(maxsize=16)
def _averaging(
    shape: tuple[int, ...],
) -> tuple[tuple[slice, slice] | None, Float32Array, Float32Array]:
    """Which pixels are looked at (None: all), and what averages rows (from the left) and columns (from the right)."""
    down, across = (-(-n // SAMPLED) for n in shape[:2])
    rows, columns = -(-shape[0] // down), -(-shape[1] // across)
    weights = _cells(columns, shape[2] if len(shape) == 3 else 1)
    sampled = None if down == across == 1 else (slice(None, None, down), slice(None, None, across))
    return sampled, _cells(rows, 1), np.ascontiguousarray(weights.T)


def _cells(length: int, depth: int) -> Float32Array:
    """Cells x (length * depth): weights that average each cell."""
    cells = min(CELLS, length)
    size = length // cells
    weights = np.zeros((cells, length * depth), np.float32)
    for i in range(cells):
        weights[i, i * size * depth : (i + 1) * size * depth] = 1 / (size * depth)
    return weights


def difference(a: Signature, b: Signature) -> float:
    """Mean absolute difference of two signatures, in pixel units 0..255; 255 for frames of different form.

    Of rows, which have one dimension, see :func:`multigraft.calibration.collect.row_quality.row_difference`.
    """
    if a.ndim == 1:
        return row_difference(a, b)
    # The methods mean() and sum() take longer than all the rest.
    return float(np.add.reduce(np.abs(a - b), axis=None)) / a.size if a.shape == b.shape else 255.0


def centre(frame: Frame) -> npt.NDArray[np.uint8]:
    """The part that sharpness looks at, grey: at most 128 x 128 (a view)."""
    top, left = (max(0, (n - SAMPLED) // 2) for n in frame.shape[:2])
    # Green alone stands for grey: it carries most of the luma and costs no conversion.
    grey = frame[:, :, 1] if frame.ndim == 3 else frame
    return grey[top : top + SAMPLED, left : left + SAMPLED]


def sharpness(centres: npt.NDArray[np.uint8]) -> Float64Array:
    """Variance of the Laplacian (4 neighbours) of each centre: small for a blurred frame.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.

    Args:
        centres: N x height x width.
    """
    if min(centres.shape[1:]) < 3:
        return np.zeros(len(centres))
    grey = centres.astype(np.int16)
    laplacian = 4 * grey[:, 1:-1, 1:-1]
    for neighbour in (grey[:, :-2, 1:-1], grey[:, 2:, 1:-1], grey[:, 1:-1, :-2], grey[:, 1:-1, 2:]):
        laplacian -= neighbour
    variance: Float64Array = laplacian.reshape(len(grey), -1).var(axis=1, dtype=np.float64)
    return variance


def brightness_counts(values: Float64Array) -> Counts:
    """How many of the mean greys 0..255 fall into each of 64 equal bins."""
    bins = np.clip(values * (BRIGHTNESS_BINS / 256), 0, BRIGHTNESS_BINS - 1).astype(np.intp)
    return np.bincount(bins, minlength=BRIGHTNESS_BINS)


def sharpness_counts(values: Float64Array) -> Counts:
    """How many sharpnesses fall into each of 64 bins of ``4 * log2(1 + sharpness)``: four bins per doubling."""
    bins = np.clip(4 * np.log2(1 + values), 0, SHARPNESS_BINS - 1).astype(np.intp)
    return np.bincount(bins, minlength=SHARPNESS_BINS)
