"""The whole numbers that a front end's arithmetic is made of; the firmware gets the same ones.

Fixed point, for samples ``x`` of 16 bits:

1. ``x * hann`` with ``extra`` bits below a sample's unit. ``extra`` is chosen so that no sum of the transform, whatever
   the samples, leaves 30 bits.
2. A transform of ``fft / 2`` complex numbers in 32 bits, each butterfly rounded once; then that of ``fft`` real ones.
3. Squared magnitudes in 64 bits, ``dropped`` of them rounded off so that all of them together fit under the weights.
4. Per triangle, weights of 16 bits: 64 bits again, exact.
5. The logarithm to base 2 with 16 bits below the point, by a table and a line between its entries, and from it that to
   base e in units of 1 / 1024.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.sounds.front_end import UNITS_PER_NAT, FrontEnd

ONE_BITS = 30
"""Bits below the point of the Hann window and of the transform's cosines."""
WEIGHT_BITS = 16
LOG_BITS = 16
LOG_ENTRIES = 256
TO_NATS_BITS = 31
TO_NATS = round(math.log(2) * UNITS_PER_NAT * 2.0 ** (TO_NATS_BITS - LOG_BITS))
"""Turns a logarithm to base 2 with :data:`LOG_BITS` into features."""


@dataclass(frozen=True)
class Tables:
    """The numbers of one front end.

    Attributes:
        hann: int32, ``window // 2 + 1``: the first half and the middle; the window is symmetric, its first value 0.
        cosines: int32, ``fft / 4 + 1``: of the first quarter of a turn.
        corners: int16, ``bands + 2``: entry i is the first bin right of corner i.
        weights: uint16, one for each bin from ``corners[0]`` on: how much of it the triangle gets whose tip is right of
            it; the rest is that of the one whose tip is left of it.
        logarithms: uint16, :data:`LOG_ENTRIES` + 1; the last, 65536, is stored as 0.
        extra: Bits below a sample's unit.
        dropped: Bits of a squared magnitude that are rounded off.
        floor: Added to each sum, in its unit.
        exponent: Logarithm to base 2 of how often the unit of a sum goes into 1.
    """

    hann: npt.NDArray[np.int32]
    cosines: npt.NDArray[np.int32]
    corners: npt.NDArray[np.int16]
    weights: npt.NDArray[np.uint16]
    logarithms: npt.NDArray[np.uint16]
    extra: int
    dropped: int
    floor: int
    exponent: int


@functools.lru_cache(maxsize=16)
def tables_of(front_end: FrontEnd) -> Tables:
    """The tables of a front end."""
    window, fft = front_end.window, front_end.fft
    real = [0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)]
    hann = np.array([round(v * 2**ONE_BITS) for v in real[: window // 2 + 1]], np.int32)
    cosines = [round(math.cos(2 * math.pi * k / fft) * 2**ONE_BITS) for k in range(fft // 4 + 1)]
    extra = 14 - math.ceil(math.log2(sum(real)))
    # Parseval: the bins between the first and the last share half of the transform's energy. They differ from it by
    # the butterflies' rounding, for which there is a hundredth.
    energy = 1.01 * fft / 2 * sum(v * v for v in real) * 2.0 ** (30 + 2 * extra)
    dropped = max(0, math.ceil(math.log2(energy)) + WEIGHT_BITS - 64)
    exponent = 30 + 2 * extra - dropped + WEIGHT_BITS
    spacing, corners = front_end.rate_hz / fft, front_end.corners_hz()
    first = [math.floor(corner / spacing) + 1 for corner in corners]
    # A bin on the last corner has no weight; nor has the transform's last, which is never computed.
    first[-1] = min(first[-1], math.ceil(corners[-1] / spacing), fft // 2)
    weights = []
    for i in range(front_end.bands + 1):
        width = corners[i + 1] - corners[i]
        weights += [(k * spacing - corners[i]) / width for k in range(first[i], first[i + 1])]
    most = 2**WEIGHT_BITS - 1
    return Tables(
        hann,
        np.array(cosines, np.int32),
        np.array(first, np.int16),
        np.array([min(most, max(0, round(w * 2**WEIGHT_BITS))) for w in weights], np.uint16),
        np.array(
            [round(math.log2(1 + i / LOG_ENTRIES) * 2**LOG_BITS) & 0xFFFF for i in range(LOG_ENTRIES + 1)], np.uint16
        ),
        extra,
        dropped,
        max(1, round(front_end.floor * 2.0**exponent)),
        exponent,
    )
