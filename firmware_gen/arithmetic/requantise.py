"""Rescaling an accumulator to int8 in one multiplication, proven equal to the reference's two roundings.

The reference is a monotone step function with at most 255 steps over the accumulators that can occur. ``(a *
multiplier + offset) >> shift``, clamped, is such a function too; if both take their steps at the same places they are
equal. :func:`solve` finds multiplier and offset by that condition or says that there are none; nothing is approximate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.arithmetic.fixed_point import rescale
from multigraft.tensors.arrays import Array

LARGEST_MULTIPLIER = (1 << 31) - 1
_LARGEST_WORD = 1 << 31
_WORD = 1 << 32
_AT_ONCE = 1 << 12
"""Starts that are tried together."""
_REACH, _FAR = 24, 512
"""How far from the nearest one multipliers are tried: where offsets are fine, and where they are coarse."""


@dataclass(frozen=True)
class Rescaling:
    """What the reference does: ``clamp(rescale(a, multiplier, shift) + zero_point, low, high)``."""

    multiplier: int
    shift: int
    zero_point: int
    low: int = -128
    high: int = 127

    def apply(self, a: Array) -> Array:
        """The reference's result for accumulators ``a`` (int64)."""
        return np.clip(rescale(a, self.multiplier, self.shift) + self.zero_point, self.low, self.high)


def find_steps(wanted: list[Rescaling], least: Array, most: Array) -> list[tuple[Array, Array]]:
    """Per channel the values above the first one, and for each the least accumulator that reaches it.

    Args:
        wanted: One rescaling per channel, with equal zero points and limits.
        least: int64, the least accumulator of each channel.
        most: int64, the greatest.
    """
    multiplier = np.array([w.multiplier for w in wanted], np.int64)[:, None]
    shift = np.array([w.shift for w in wanted], np.int64)[:, None]
    zero_point, low, high = wanted[0].zero_point, wanted[0].low, wanted[0].high

    def apply(a: Array) -> Array:
        return np.clip(rescale(a, multiplier, shift) + zero_point, low, high)

    values = np.arange(low + 1, high + 1, dtype=np.int64)[None, :]
    below = np.repeat(least[:, None], values.size, axis=1)
    reached = np.repeat(most[:, None], values.size, axis=1)
    while np.any(reached - below > 1):
        middle = (below + reached) >> 1
        above = apply(middle) >= values
        below, reached = np.where(above, below, middle), np.where(above, middle, reached)
    first, last = apply(least[:, None]), apply(most[:, None])
    occurs = (values > first) & (values <= last)
    return [(values[0, row], line[row]) for row, line in zip(occurs, reached, strict=True)]


@dataclass(frozen=True)
class Affine:
    """``clamp((a * multiplier + offset) >> shift, low, high)`` in 64-bit arithmetic."""

    multiplier: int
    offset: int
    shift: int

    def apply(self, a: Array, low: int = -128, high: int = 127) -> Array:
        """The result for accumulators ``a`` (int64)."""
        return np.clip((np.asarray(a, np.int64) * self.multiplier + self.offset) >> self.shift, low, high)


def largest_shift(rescalings: list[Rescaling], limit: int) -> int:
    """The largest shift, at most ``limit``, at which every multiplier still fits 31 bits."""
    bits = max((r.multiplier.bit_length() - 31 + r.shift for r in rescalings), default=0)
    return min(limit, 31 - max(bits, -31))


def solve(wanted: Rescaling, least: int, most: int, steps: tuple[Array, Array], shift: int) -> Affine | None:
    """Multiplier and offset that equal ``wanted`` for every accumulator in [least, most], or None.

    Args:
        wanted: The reference's rescaling; its multiplier is not negative.
        least: The least accumulator that can occur.
        most: The greatest.
        steps: What :func:`find_steps` found for it.
        shift: The right shift the kernel is built with.
    """
    values, _ = steps
    if values.size == 0 or wanted.multiplier == 0:
        return Affine(0, int(wanted.apply(np.array([least]))[0]) << shift, shift)
    for multiplier, low, high in _offsets(wanted, least, most, steps, shift, _REACH):
        return Affine(multiplier, (low + high) // 2, shift)
    return None


def _offsets(
    wanted: Rescaling, least: int, most: int, steps: tuple[Array, Array], shift: int, reach: int
) -> Iterator[tuple[int, int, int]]:
    """Multipliers, and between which offsets (both included) :class:`Affine` equals ``wanted`` with each."""
    values, reached = steps
    exponent = wanted.shift - 31 + shift
    exact = wanted.multiplier
    centre = exact << exponent if exponent >= 0 else (exact + (1 << (-exponent - 1))) >> -exponent
    raised = values << shift
    for distance in sorted(range(-reach, reach + 1), key=abs):
        multiplier = centre + distance
        if not 0 < multiplier <= LARGEST_MULTIPLIER:
            continue
        low = int(np.max(raised - multiplier * reached))
        high = int(np.min(raised - multiplier * (reached - 1))) - 1
        first, last = int(values[0]) - 1, int(values[-1])
        if first > wanted.low:
            low = max(low, (first << shift) - multiplier * least)
        if last < wanted.high:
            high = min(high, ((last + 1) << shift) - 1 - multiplier * most)
        if low <= high:
            yield multiplier, low, high


@dataclass(frozen=True)
class Upper:
    """``clamp((((factor * sum + start) * multiplier >> 32) + added) >> shift, low, high)``, all in 32 bits but for the
    product, of which the upper word counts; ``sum`` is an accumulator without its bias."""

    multiplier: int
    start: int
    added: int
    shift: int

    def apply(self, sums: Array, factor: int, low: int = -128, high: int = 127) -> Array:
        """The result for ``sums`` (int64)."""
        upper = (np.asarray(sums, np.int64) * factor + self.start) * self.multiplier >> 32
        return np.clip((upper + self.added) >> self.shift, low, high)


def solve_upper(
    wanted: Rescaling,
    accumulators: tuple[int, int, int],
    steps: tuple[Array, Array],
    shift: int,
    factor: int,
    starts: Array,
) -> Upper | None:
    """What equals ``wanted`` for every accumulator by the upper word of one product, or None.

    Args:
        wanted: The reference's rescaling; its multiplier is not negative.
        accumulators: The least and the greatest that can occur, and the bias in them.
        steps: What :func:`find_steps` found for it.
        shift: As in :class:`Affine`, at least 32, for sums as they are.
        factor: A power of two by which sums come too large.
        starts: int64, what sums may begin with; the first that fits is taken.
    """
    least, most, bias = accumulators
    places = shift - 32 + factor.bit_length() - 1
    if not 0 <= places < 32:
        return None
    values, _ = steps
    if values.size == 0 or wanted.multiplier == 0:
        found = Upper(0, int(starts[0]), int(wanted.apply(np.array([least]))[0]) << places, places)
        return found if abs(found.added) < _LARGEST_WORD else None
    for multiplier, low, high in _offsets(wanted, least, most, steps, shift, _FAR):
        # In units of sums as they come, what is added may be anything between these.
        first, last = factor * (low + bias * multiplier), factor * (high + 1 + bias * multiplier) - 1
        for begin in range(0, len(starts), _AT_ONCE):
            some = starts[begin : begin + _AT_ONCE]
            # Beyond 64 bits numpy 2 refuses numbers, and numpy 1 makes floats or objects of them.
            fits = np.flatnonzero((last % _WORD - multiplier * some) & (_WORD - 1) <= last - first)
            if fits.size == 0:
                continue
            start = int(some[fits[0]])
            added = (last - multiplier * start) // _WORD
            sums = [factor * (end - bias) + start for end in (least, most)]
            uppers = [(s * multiplier >> 32) + added for s in sums]
            if max(map(abs, (*sums, *uppers, added))) < _LARGEST_WORD:
                return Upper(multiplier, start, added, places)
            break
    return None
