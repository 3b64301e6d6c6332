"""Samples to log-mel features, vectorised over rows; bit for bit what the firmware's C computes.

The transform is the textbook's decimation in time (Cooley and Tukey, 1965) on ``fft / 2`` complex numbers, with real
samples two by two as their parts. :mod:`multigraft.sounds.tables` has the number formats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError
from multigraft.sounds.front_end import FrontEnd
from multigraft.sounds.tables import LOG_BITS, ONE_BITS, TO_NATS, TO_NATS_BITS, WEIGHT_BITS, tables_of

Samples = npt.NDArray[np.int16]
Features = npt.NDArray[np.int16]
"""Rows x bands, in 1 / 1024 of a natural logarithm's unit."""

Array = npt.NDArray[Any]

_Wide = npt.NDArray[np.int64]
_BLOCK = 256
"""Rows worked on at a time."""


def log_mel(samples: Samples, front_end: FrontEnd) -> Features:
    """All whole rows of a sound.

    Args:
        samples: int16, one channel, at ``front_end.rate_hz``.
        front_end: The parameters.

    Returns:
        int16, ``front_end.rows(len(samples))`` x bands.

    Raises:
        InputError: The samples are of another type or shape.
    """
    check_samples(samples)
    rows = front_end.rows(len(samples))
    if rows == 0:
        return np.empty((0, front_end.bands), np.int16)
    windows = np.lib.stride_tricks.sliding_window_view(samples, front_end.window)[:: front_end.step]
    parts = [_rows(windows[at : at + _BLOCK], front_end) for at in range(0, rows, _BLOCK)]
    return np.concatenate(parts)


def check_samples(samples: Array) -> None:
    """Refuse what are no samples.

    Raises:
        InputError: They are of another type or shape.
    """
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        found = (
            f"{samples.dtype} of shape {samples.shape}" if isinstance(samples, np.ndarray) else type(samples).__name__
        )
        raise InputError(f"a sound is {found}", "give int16 samples of one channel, one dimension")


class LogMelStream:
    """The same rows, of samples that come in pieces of any length.

    Args:
        front_end: The parameters.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        self._kept: Samples = np.empty(0, np.int16)
        self._skipped = 0

    def hear(self, samples: Samples) -> Features:
        """The rows that these samples complete: int16, 0 or more x bands.

        Raises:
            InputError: The samples are of another type or shape.
        """
        check_samples(samples)
        front_end = self._front_end
        skipped = min(self._skipped, len(samples))
        self._skipped -= skipped
        self._kept = np.concatenate([self._kept, samples[skipped:]])
        rows = log_mel(self._kept, front_end)
        done = len(rows) * front_end.step
        # A step longer than the window leaves samples out that have not come yet.
        self._skipped += max(0, done - len(self._kept))
        self._kept = self._kept[done:]
        return rows


def _rows(windows: Samples, front_end: FrontEnd) -> Features:
    tables = tables_of(front_end)
    window, fft = front_end.window, front_end.fft
    half = tables.hann.astype(np.int64)
    hann = np.concatenate([half, half[1 : (window + 1) // 2][::-1]])
    padded = np.zeros((len(windows), fft), np.int64)
    padded[:, :window] = _rounded(windows * hann, ONE_BITS - tables.extra)
    real, imaginary = _transform(padded[:, ::2], padded[:, 1::2], tables.cosines)
    real, imaginary = _split(real, imaginary, tables.cosines)
    squares = (real * real + imaginary * imaginary).astype(np.uint64)
    if tables.dropped:
        squares = (squares + np.uint64(1 << (tables.dropped - 1))) >> np.uint64(tables.dropped)
    low, high = int(tables.corners[0]), int(tables.corners[-1])
    squares = squares[:, low - 1 : high - 1]
    # Sums of whole numbers that fit: their order does not matter.
    edges = tables.corners - low
    whole = _sums(squares, edges) << np.uint64(WEIGHT_BITS)
    rising = _sums(squares * tables.weights.astype(np.uint64), edges)
    sums = rising[:, :-1] + whole[:, 1:] - rising[:, 1:]
    logs = _log2(sums + np.uint64(tables.floor), tables.logarithms) - (tables.exponent << LOG_BITS)
    features = _rounded(logs * TO_NATS, TO_NATS_BITS)
    return np.clip(features, -32768, 32767).astype(np.int16)


def _rounded(values: _Wide, bits: int) -> _Wide:
    """Divided by a power of two, half up."""
    rounded: _Wide = (values + (1 << (bits - 1))) >> bits
    return rounded


def _cosine(cosines: npt.NDArray[np.int32], step: int, count: int) -> tuple[_Wide, _Wide]:
    """Cosine and sine of ``count`` angles from 0 to less than half a turn, ``step`` entries of the table apart."""
    quarter = len(cosines) - 1
    at = np.arange(count) * step
    over = at > quarter
    cosine = np.where(over, -cosines[np.where(over, 2 * quarter - at, 0)], cosines[np.where(over, 0, at)])
    sine = cosines[np.abs(quarter - at)]
    return cosine.astype(np.int64), sine.astype(np.int64)


def _transform(real: Array, imaginary: Array, cosines: npt.NDArray[np.int32]) -> tuple[_Wide, _Wide]:
    """The transform of rows of complex numbers, a power of two of them each; the sums of each butterfly are rounded."""
    rows, length = real.shape
    order = np.zeros(length, np.intp)
    for bit in range(length.bit_length() - 1):
        order |= ((np.arange(length) >> bit) & 1) << (length.bit_length() - 2 - bit)
    re, im = np.ascontiguousarray(real[:, order]), np.ascontiguousarray(imaginary[:, order])
    size = 2
    while size <= length:
        a_re, a_im = (x.reshape(rows, -1, 2, size // 2)[:, :, 0] for x in (re, im))
        b_re, b_im = (x.reshape(rows, -1, 2, size // 2)[:, :, 1] for x in (re, im))
        cosine, sine = _cosine(cosines, 2 * length // size, size // 2)
        t_re = _rounded(b_re * cosine + b_im * sine, ONE_BITS)
        t_im = _rounded(b_im * cosine - b_re * sine, ONE_BITS)
        np.subtract(a_re, t_re, out=b_re)
        np.subtract(a_im, t_im, out=b_im)
        a_re += t_re
        a_im += t_im
        size *= 2
    return re, im


def _split(re: _Wide, im: _Wide, cosines: npt.NDArray[np.int32]) -> tuple[_Wide, _Wide]:
    """The transform of the real samples from that of their pairs, without its first and its last bin."""
    length = re.shape[1]
    cosine, sine = _cosine(cosines, 1, length)
    cosine, sine = cosine[1:], sine[1:]
    here_re, here_im, there_re, there_im = re[:, 1:], im[:, 1:], re[:, :0:-1], im[:, :0:-1]
    even_re, even_im = here_re + there_re, here_im - there_im
    odd_re, odd_im = here_im + there_im, there_re - here_re
    real = (even_re << ONE_BITS) + odd_re * cosine + odd_im * sine
    imaginary = (even_im << ONE_BITS) + odd_im * cosine - odd_re * sine
    return _rounded(real, ONE_BITS + 1), _rounded(imaginary, ONE_BITS + 1)


def _sums(values: npt.NDArray[np.uint64], edges: Array) -> npt.NDArray[np.uint64]:
    """Sums of the columns between neighbouring edges; 0 where there is none between."""
    totals = np.zeros((len(values), values.shape[1] + 1), np.uint64)
    np.cumsum(values, axis=1, out=totals[:, 1:])
    sums: npt.NDArray[np.uint64] = totals[:, edges[1:]] - totals[:, edges[:-1]]
    return sums


def _log2(values: npt.NDArray[np.uint64], table: npt.NDArray[np.uint16]) -> _Wide:
    """Logarithms to base 2, 16 bits below the point, of numbers above 0."""
    shifted = values.copy()
    exponent = np.full(values.shape, 63, np.int64)
    for bits in (32, 16, 8, 4, 2, 1):
        small = shifted < np.uint64(1 << (64 - bits))
        shifted = np.where(small, shifted << np.uint64(bits), shifted)
        exponent -= bits * small
    index = ((shifted >> np.uint64(55)) & np.uint64(0xFF)).astype(np.intp)
    fraction = ((shifted >> np.uint64(39)) & np.uint64(0xFFFF)).astype(np.int64)
    difference = (table[index + 1] - table[index]).astype(np.int64)
    return (exponent << LOG_BITS) + table[index] + _rounded(difference * fraction, 16)
