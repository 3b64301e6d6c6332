"""Rescaling an accumulator to int8 in one multiplication, proven equal to the reference's two roundings.

The reference is a monotone step function with at most 255 steps over the accumulators that can occur. ``(a *
multiplier + offset) >> shift``, clamped, is such a function too; if both take their steps at the same places they are
equal. :func:`solve` finds multiplier and offset by that condition or says that there are none; nothing is approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multigraft.firmware_gen.arithmetic.fixed_point import rescale
from multigraft.tensors.arrays import Array

LARGEST_MULTIPLIER = (1 << 31) - 1
_LARGEST_WORD = 1 << 31
_WORD = 1 << 32
_FIRST, _AT_ONCE = 1 << 6, 1 << 12
"""Starts that are tried together, at first and at most."""
_REACH, _FAR = 24, 512
"""How far from the nearest one multipliers are tried: where offsets are fine, and where they are coarse."""
_SOME = 16
"""Steps of up to 255, the first and the last among them, that multipliers are tried with before."""


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
    multipliers, lows, highs = _offsets(wanted, least, most, steps, shift, _REACH)
    if multipliers.size == 0:
        return None
    return Affine(int(multipliers[0]), (int(lows[0]) + int(highs[0])) // 2, shift)


def _offsets(
    wanted: Rescaling, least: int, most: int, steps: tuple[Array, Array], shift: int, reach: int
) -> tuple[Array, Array, Array]:
    """Multipliers from the nearest on, and between which offsets (both included) :class:`Affine` equals ``wanted`` with
    each."""
    values, reached = steps
    exponent = wanted.shift - 31 + shift
    exact = wanted.multiplier
    centre = exact << exponent if exponent >= 0 else (exact + (1 << (-exponent - 1))) >> -exponent
    distances = np.array(sorted(range(-reach, reach + 1), key=abs), np.int64)
    multipliers = centre + distances
    multipliers = multipliers[(multipliers > 0) & (multipliers <= LARGEST_MULTIPLIER)]
    if values.size > 2 * _SOME:
        # What a few steps refuse is refused: all of them are left for few multipliers.
        some = np.linspace(0, values.size - 1, _SOME).astype(np.int64)
        lows, highs = _between(multipliers, values[some] << shift, reached[some])
        multipliers = multipliers[lows <= highs]
    lows, highs = _between(multipliers, values << shift, reached)
    first, last = int(values[0]) - 1, int(values[-1])
    if first > wanted.low:
        lows = np.maximum(lows, (first << shift) - multipliers * least)
    if last < wanted.high:
        highs = np.minimum(highs, ((last + 1) << shift) - 1 - multipliers * most)
    found = lows <= highs
    return multipliers[found], lows[found], highs[found]


def _between(multipliers: Array, places: Array, reached: Array) -> tuple[Array, Array]:
    """For each multiplier the least and the greatest offset with which it takes steps to ``places``, where they are."""
    # At a step's accumulator the step has to be taken, at the one before it must not.
    there: Array = places - multipliers[:, None] * reached
    return there.max(1), (there + multipliers[:, None]).min(1) - 1


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


@dataclass(frozen=True)
class Summed:
    """A channel whose sums :func:`solve_upper` rescales.

    Attributes:
        wanted: The reference's rescaling; its multiplier is not negative.
        least: The least accumulator that can occur.
        most: The greatest.
        bias: What is in accumulators and not in sums.
        steps: What :func:`find_steps` found for it.
        factor: A power of two by which sums come too large.
    """

    wanted: Rescaling
    least: int
    most: int
    bias: int
    steps: tuple[Array, Array]
    factor: int

    @property
    def constant(self) -> bool:
        """Whether all accumulators give one value."""
        return self.steps[0].size == 0 or self.wanted.multiplier == 0

    @cached_property
    def searches(self) -> dict[int, _Search]:
        """What was found for a shift, whatever sums begin with."""
        return {}


def solve_upper(channels: Sequence[Summed], shift: int, starts: Array) -> tuple[Upper, ...] | None:
    """What equals the reference for every accumulator by the upper word of one product, or None.

    Args:
        channels: Channels whose sums begin with the same.
        shift: As in :class:`Affine`, at least 32, for sums as they are.
        starts: int64, what sums may begin with; the first that fits all channels is taken.
    """
    for channel in channels:
        if shift not in channel.searches:
            channel.searches[shift] = _Search.of(channel, shift)
    searched = [channel.searches[shift] for channel in channels]
    if not all(0 <= s.places < 32 and (s.channel.constant or s.multipliers.size) for s in searched):
        return None
    begin, some = 0, _FIRST
    while begin < len(starts):
        possible = starts[begin : begin + some]
        for s in searched:
            possible = s.fitting(possible)
        if possible.size:
            # Whether sums stay within 32 bits does not depend on the start: it is small beside them.
            found = [one for s in searched if (one := s.at(int(possible[0]))) is not None]
            return tuple(found) if len(found) == len(searched) else None
        begin, some = begin + some, min(2 * some, _AT_ONCE)
    return None


@dataclass(frozen=True)
class _Search:
    """One channel and the multipliers that do with some offset, from the nearest on, and between which offsets."""

    channel: Summed
    places: int
    multipliers: Array
    lows: Array
    highs: Array

    @staticmethod
    def of(channel: Summed, shift: int) -> _Search:
        c, none = channel, np.zeros(0, np.int64)
        found = (none,) * 3 if c.constant else _offsets(c.wanted, c.least, c.most, c.steps, shift, _FAR)
        return _Search(c, shift - 32 + c.factor.bit_length() - 1, *found)

    def fitting(self, starts: Array) -> Array:
        """Those of ``starts`` with which one of the multipliers gives what the reference does."""
        return starts if self.channel.constant else starts[self._fits(starts).any(0)]

    def at(self, start: int) -> Upper | None:
        """With sums that begin with ``start``; None where they, or what comes of them, leave 32 bits."""
        c = self.channel
        if c.constant:
            added = int(c.wanted.apply(np.array([c.least]))[0]) << self.places
            return Upper(0, start, added, self.places) if abs(added) < _LARGEST_WORD else None
        for place in np.flatnonzero(self._fits(np.array([start]))).tolist():
            multiplier, high = int(self.multipliers[place]), int(self.highs[place])
            added = (c.factor * (high + 1 + c.bias * multiplier) - 1 - multiplier * start) // _WORD
            sums = [c.factor * (end - c.bias) + start for end in (c.least, c.most)]
            uppers = [(s * multiplier >> 32) + added for s in sums]
            if max(map(abs, (*sums, *uppers, added))) < _LARGEST_WORD:
                return Upper(multiplier, start, added, self.places)
        return None

    def _fits(self, starts: Array) -> Array:
        """Whether each multiplier (rows) does with each start. What is added, in units of sums as they come, may be
        anything between two numbers; their lower words are compared, as all of them has more than 64 bits."""
        factor, multipliers = self.channel.factor, self.multipliers[:, None]
        last = factor * (self.highs + 1 + self.channel.bias * self.multipliers) - 1
        width = factor * np.minimum(self.highs + 1 - self.lows, _WORD) - 1
        return np.asarray((last[:, None] - multipliers * starts) & (_WORD - 1) <= width[:, None])
