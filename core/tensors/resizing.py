"""Resizing of uint8 images in whole numbers, so that every machine gets the same pixels.

Pixel centres lie at halves (``(i + 0.5) * in / out - 0.5``, clamped at the border), as in OpenCV, Pillow, and TFLite
with ``half_pixel_centers``. Bilinear weights have 11 fractional bits, as in OpenCV's ``INTER_LINEAR``; the sum of four
products has 22 and is rounded half up to a whole pixel once. There is no smoothing before a reduction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.intp]
Weights = npt.NDArray[np.int32]

_BITS = 11
_ONE = 1 << _BITS
_HALF = np.int32(1 << (2 * _BITS - 1))
_BLOCK = 1 << 17
"""Numbers worked on at a time: scratch memory stays within the second-level cache of a small processor."""


class Resizer:
    """Resizes images of one shape to another; indices, weights and scratch memory are made once.

    Not for use from several threads at once.

    Args:
        source: Height, width and channels of the images.
        target: Height and width wanted.
        bilinear: Otherwise the nearest pixel is taken.
        reverse: Reverse the order of the channels on the way.
        ratio: So many source pixels are so many target pixels, in both directions; without it source and target end
            at the same place.
    """

    def __init__(
        self,
        source: tuple[int, int, int],
        target: tuple[int, int],
        bilinear: bool,
        reverse: bool = False,
        ratio: tuple[int, int] | None = None,
    ) -> None:
        depth = source[2]
        self._result = np.empty((*target, depth), np.uint8)
        channel = np.arange(depth)[::-1] if reverse else np.arange(depth)
        self._rows: tuple[Indices, ...]
        self._columns: tuple[Indices, ...]
        self._weights: tuple[Weights, Weights, Weights, Weights] | None = None

        def of_columns(indices: Indices) -> Indices:
            return (indices[:, None] * depth + channel).reshape(-1)

        of_rows, across = ratio or (source[0], target[0]), ratio or (source[1], target[1])
        if not bilinear:
            self._rows = (_nearest(source[0], target[0], *of_rows),)
            self._columns = (of_columns(_nearest(source[1], target[1], *across)),)
            return
        self._rows, rows = _bilinear(source[0], target[0], *of_rows)
        indices, columns = _bilinear(source[1], target[1], *across)
        self._columns = tuple(map(of_columns, indices))
        # Column weights are repeated: broadcasting over three channels would run numpy's inner loop three at a time.
        self._weights = (rows[0][:, None], rows[1][:, None], columns[0].repeat(depth), columns[1].repeat(depth))
        wide, narrow = source[1] * depth, target[1] * depth
        self._block = min(target[0], max(1, _BLOCK // wide))
        self._wide = np.empty((2, self._block, wide), np.int32)
        self._narrow = np.empty((2, self._block, narrow), np.int32)

    def __call__(self, image: Pixels) -> Pixels:
        """Resize a uint8 image, HxWxC; the result is C-contiguous and valid until the next call."""
        flat = image.reshape(image.shape[0], -1)
        result = self._result.reshape(self._result.shape[0], -1)
        if self._weights is None:
            flat[self._rows[0]].take(self._columns[0], axis=1, out=result, mode="clip")
            return self._result
        upper, lower, left, right = self._weights
        for start in range(0, len(result), self._block):
            stop = min(start + self._block, len(result))
            now = slice(start, stop)
            (rows, more_rows), (columns, more_columns) = self._wide[:, : stop - start], self._narrow[:, : stop - start]
            np.multiply(flat[self._rows[0][now]], upper[now], out=rows)
            np.multiply(flat[self._rows[1][now]], lower[now], out=more_rows)
            rows += more_rows
            # "clip" never clips here; unlike the default it lets numpy write into out without a copy.
            rows.take(self._columns[0], axis=1, out=columns, mode="clip")
            rows.take(self._columns[1], axis=1, out=more_columns, mode="clip")
            columns *= left
            more_columns *= right
            columns += more_columns
            columns += _HALF
            np.right_shift(columns, 2 * _BITS, out=columns)
            result[now] = columns
        return self._result


def _nearest(source: int, target: int, numerator: int, denominator: int) -> Indices:
    index = (2 * np.arange(target, dtype=np.int64) + 1) * numerator // (2 * denominator)
    return np.minimum(index, source - 1).astype(np.intp)


def _bilinear(
    source: int, target: int, numerator: int, denominator: int
) -> tuple[tuple[Indices, Indices], tuple[Weights, Weights]]:
    """Per target pixel its two source pixels and their weights in 1/2048."""
    centre = (2 * np.arange(target, dtype=np.int64) + 1) * numerator - denominator
    low, rest = np.divmod(np.clip(centre, 0, 2 * denominator * (source - 1)), 2 * denominator)
    weight = ((2 * rest * _ONE + 2 * denominator) // (4 * denominator)).astype(np.int32)
    high = np.minimum(low + 1, source - 1)
    return (low.astype(np.intp), high.astype(np.intp)), (np.int32(_ONE) - weight, weight)
