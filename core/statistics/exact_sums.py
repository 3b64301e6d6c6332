"""Sums of real numbers that do not depend on the order of their terms.

Each term is rounded once, to a multiple of 2**-62, and then added as an integer; integer sums are associative and
commutative, so runs can be merged in any order and grouping without a bit of difference. The value is
``high + low * 2**-62`` with two int64 per sum, ``0 <= low < 2**62``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError, UsageError
from multigraft.tensors.arrays import Array, Float64Array

BITS = 62
LIMIT = 2.0**61
"""Terms and sums have to be smaller than this."""

_LARGE = 1 << 12
"""Sums of an array from which on it is added by itself: what that needs beside it stays small."""

_MASK = np.int64((1 << BITS) - 1)
_HALF = np.int64(1 << (BITS - 1))
_MOST = np.int64(1 << 61)

Integers = npt.NDArray[np.int64]


class ExactSums:
    """An array of sums.

    Args:
        shape: Shape of the array; any number of axes.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._high: Integers = np.zeros(shape, np.int64)
        self._low: Integers = np.zeros(shape, np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._high.shape

    def add(self, terms: npt.ArrayLike) -> None:
        """Add one term to each sum.

        Args:
            terms: Array of :attr:`shape`, converted to float64.

        Raises:
            UsageError: The shape differs.
            InputError: A term is not finite, or it or a sum is 2**61 or more; nothing was added.
        """
        values = np.asarray(terms, np.float64)
        if values.shape != self.shape:
            raise UsageError(f"terms of shape {values.shape} for sums of shape {self.shape}", "give one term per sum")
        if not (np.abs(values) < LIMIT).all():
            raise InputError("a sum would be infinite, NaN or above 2**61", "check the network and its input")
        whole = np.trunc(values)
        # The fraction keeps the sign of the term: its 53 bits then scale to an integer without a second rounding.
        fraction = np.rint(np.ldexp(values - whole, BITS)).astype(np.int64)
        self._set(self._high + whole.astype(np.int64), self._low + fraction)

    def _set(self, high: Integers, low: Integers) -> None:
        high = high + (low >> BITS)
        if (np.abs(high) >= _MOST).any():
            raise InputError("a sum would be above 2**61", "check the network and its input")
        self._high, self._low = high, low & _MASK

    def merge(self, other: ExactSums) -> ExactSums:
        """The sums of the terms of both.

        Raises:
            UsageError: The shapes differ.
            InputError: A sum would be 2**61 or more.
        """
        if other.shape != self.shape:
            raise UsageError(f"sums of shapes {self.shape} and {other.shape} cannot be merged", "merge equal ones")
        merged = ExactSums(self.shape)
        merged._set(self._high + other._high, self._low + other._low)
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactSums):
            return NotImplemented
        return bool(np.array_equal(self._high, other._high) and np.array_equal(self._low, other._low))

    __hash__ = None  # type: ignore[assignment]  # it changes with every add

    def values(self) -> Float64Array:
        """The sums, rounded to float64."""
        # A negative sum near 0 is stored as -1 and almost 1; counted from above it keeps its digits.
        above = self._low > _HALF
        whole = self._high + above
        rest = np.where(above, self._low - _MASK - 1, self._low)
        sums: Float64Array = whole.astype(np.float64) + np.ldexp(rest.astype(np.float64), -BITS)
        return sums

    def whole(self) -> Integers:
        """The sums of terms that were whole numbers, exactly: int64.

        Raises:
            InputError: A sum is no whole number.
        """
        if self._low.any():
            raise InputError("a sum of whole numbers has a fraction", "collect again")
        return self._high.copy()

    @classmethod
    def of_whole(cls, values: Integers) -> Self:
        """Sums that are whole numbers.

        Args:
            values: int64.

        Raises:
            InputError: One is 2**61 or more.
        """
        sums = cls(values.shape)
        sums._set(values, np.zeros(values.shape, np.int64))
        return sums

    def to_array(self) -> Integers:
        """int64, 2 x :attr:`shape`: high and low parts."""
        return np.stack([self._high, self._low])

    @classmethod
    def from_array(cls, array: Array) -> Self:
        """Read what :meth:`to_array` gave.

        Raises:
            InputError: It has another form.
        """
        if array.dtype != np.int64 or array.ndim < 1 or len(array) != 2:
            raise InputError(f"exact sums are stored as {array.dtype} {array.shape}", "collect them again")
        high, low = array
        # Not by np.abs: that of -2**63 is itself.
        if (high >= _MOST).any() or (high <= -_MOST).any() or (low < 0).any() or (low > _MASK).any():
            raise InputError("exact sums hold parts out of range", "collect them again")
        sums = cls(array.shape[1:])
        sums._high, sums._low = high.copy(), low.copy()
        return sums


def add_all(sums: Mapping[str, ExactSums], terms: Mapping[str, Array]) -> dict[str, ExactSums]:
    """``sums`` with one term added to each sum named in ``terms``; names that are new start at 0.

    As :meth:`ExactSums.add` for each name; small arrays together cost as much as one. ``sums`` is not changed.

    Raises:
        UsageError: A shape differs.
        InputError: As :meth:`ExactSums.add`.
    """
    added = dict(sums)
    before = {name: sums.get(name) or ExactSums(np.shape(values)) for name, values in terms.items()}
    for name, values in terms.items():
        if np.shape(values) != before[name].shape:
            raise UsageError(f"{name} has two shapes", "merge runs of the same networks")
    small = [name for name, old in before.items() if old._low.size < _LARGE]
    for name in before.keys() - set(small):
        added[name] = new = ExactSums.__new__(ExactSums)
        new._high, new._low = before[name]._high, before[name]._low
        new.add(terms[name])
    if not small:
        return added
    whole = ExactSums((sum(before[name]._low.size for name in small),))
    whole._high = np.concatenate([before[name]._high.reshape(-1) for name in small])
    whole._low = np.concatenate([before[name]._low.reshape(-1) for name in small])
    whole.add(np.concatenate([np.reshape(np.asarray(terms[name], np.float64), -1) for name in small]))
    start = 0
    for name in small:
        old = before[name]
        end = start + old._low.size
        new = added[name] = ExactSums.__new__(ExactSums)
        new._high, new._low = whole._high[start:end].reshape(old.shape), whole._low[start:end].reshape(old.shape)
        start = end
    return added
