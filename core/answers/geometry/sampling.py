"""A map of a network, read at the pixels of a frame.

Coordinates as in :mod:`multigraft.answers.placement`: the centre of the first pixel is at one half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from multigraft.tensors.arrays import Array, Float32Array, Float64Array

Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


def map_scale(size: tuple[int, int] | None, shape: tuple[int, ...]) -> Float64Array:
    """(2, 1): pixels of a map (..., rows, columns) per pixel of the network input that it spans, x before y."""
    rows, columns = shape[-2:]
    height, width = size or (rows, columns)
    return np.array([[columns / width], [rows / height]])


def nearest(values: Array, back: Float64Array, height: int, width: int, elsewhere: float) -> Array:
    """The value of the map's pixel that each of the frame's pixels lies on.

    Args:
        values: (rows, columns), of any type.
        back: (2, 3), coordinates of the frame to coordinates of the map.
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        elsewhere: What a pixel of the frame that lies beside the map has.

    Returns:
        (height, width), the map's type; a new array.
    """
    rows, columns = values.shape
    placed = np.full((height, width), elsewhere, values.dtype)
    for where, x, y in _strips(back, height, width):
        inner_x, in_x = _cell(x, columns)
        inner_y, in_y = _cell(y, rows)
        placed[where] = np.where(in_x & in_y, values[inner_y, inner_x], values.dtype.type(elsewhere))
    return placed


@np.errstate(all="ignore")
def linear(values: Float32Array, back: Float64Array, height: int, width: int) -> Float32Array:
    """The map between its pixels linear, at the centre of each of the frame's pixels.

    Only pixels of the map whose centre lies on the frame take part: beside a frame there is padding.

    Args:
        values: (channels, rows, columns) float32.
        back: (2, 3), coordinates of the frame to coordinates of the map.
        height: Of the frame, pixels.
        width: Of the frame, pixels.

    Returns:
        (channels, height, width) float32; NaN where the frame lies beside the map.
    """
    channels, rows, columns = values.shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ back[:, :2].T + back[:, 2]
    low, high = corners.min(axis=0), corners.max(axis=0)
    placed = np.full((channels, height, width), np.nan, np.float32)
    for (strip,), x, y in _strips(back, height, width):
        left, right, across = _neighbours(x, columns, low[0], high[0])
        top, bottom, down = _neighbours(y, rows, low[1], high[1])
        beside = ~(_cell(x, columns)[1] & _cell(y, rows)[1])
        for channel, target in zip(values, placed, strict=True):
            upper = channel[top, left] * (1 - across) + channel[top, right] * across
            lower = channel[bottom, left] * (1 - across) + channel[bottom, right] * across
            block = upper * (1 - down) + lower * down
            block[beside] = np.nan
            target[strip] = block
    return placed


def _strips(back: Float64Array, height: int, width: int) -> Iterator[tuple[tuple[slice], Float64Array, Float64Array]]:
    """Rows of the frame some at a time, with the map's coordinates of their pixels, in forms that broadcast."""
    x = np.arange(width) + 0.5
    y = (np.arange(height) + 0.5)[:, None]
    is_straight = back[0, 1] == 0 and back[1, 0] == 0
    # A turned frame needs two coordinates per pixel: a strip at a time keeps them small.
    step = height if is_straight else max(1, 65536 // max(width, 1))
    for start in range(0, height, max(step, 1)):
        some = y[start : start + step]
        if is_straight:
            yield (slice(start, start + step),), back[0, 0] * x[None, :] + back[0, 2], back[1, 1] * some + back[1, 2]
        else:
            yield (
                (slice(start, start + step),),
                back[0, 0] * x + back[0, 1] * some + back[0, 2],
                back[1, 0] * x + back[1, 1] * some + back[1, 2],
            )


_SLACK = 1e-6
"""Pixels: what lies beside a map by less is a matter of rounding."""


def _cell(where: Float64Array, count: int) -> tuple[Indices, Mask]:
    inside = (where > -_SLACK) & (where < count + _SLACK)
    return np.clip(np.floor(np.clip(where, -1, count + 1)).astype(np.intp), 0, count - 1), inside


def _neighbours(where: Float64Array, count: int, low: float, high: float) -> tuple[Indices, Indices, Float32Array]:
    """The two pixels whose centres lie around, and how far it is towards the second."""
    first_seen = min(max(int(np.ceil(min(max(low, 0), count) - 0.5 - _SLACK)), 0), count - 1)
    last_seen = max(min(int(np.floor(max(min(high, count), 0) - 0.5 + _SLACK)), count - 1), first_seen)
    position = np.clip(where - 0.5, first_seen, last_seen)
    first = np.floor(position).astype(np.intp)
    return first, np.minimum(first + 1, last_seen), (position - first).astype(np.float32)
