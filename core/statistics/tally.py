"""Named arrays that merge: exact sums, counts, least and greatest values.

Each kind is a commutative monoid (integer sums, minimum, maximum), so a :class:`Tally` merges in any order and grouping
to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from multigraft.errors import InputError, UsageError
from multigraft.statistics.exact_sums import ExactSums, add_all
from multigraft.statistics.value_histogram import Counts
from multigraft.tensors.arrays import Array, Float64Array


@dataclass
class Terms:
    """What one minibatch adds to a :class:`Tally`; names tell the arrays apart within each kind.

    Attributes:
        frames: How many frames it sums over.
        sums: float64, sums over those frames.
        counts: int64.
        lows: float64, least values.
        highs: float64, greatest values.
    """

    frames: int = 0
    sums: dict[str, Float64Array] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    lows: dict[str, Float64Array] = field(default_factory=dict)
    highs: dict[str, Float64Array] = field(default_factory=dict)


class Tally:
    """Sums over frames. An array that only some terms have is as if the others had nothing to add to it."""

    def __init__(self) -> None:
        self.frames = 0
        self.minibatches = 0
        self.sums: dict[str, ExactSums] = {}
        self.counts: dict[str, Counts] = {}
        self.lows: dict[str, Float64Array] = {}
        self.highs: dict[str, Float64Array] = {}

    def add(self, terms: Terms) -> None:
        """Add a minibatch.

        Raises:
            UsageError: A shape differs from before.
            InputError: A sum would leave its range.
        """
        for name in self.counts.keys() & terms.counts.keys():
            _check_shape(name, self.counts[name], terms.counts[name])
        sums = add_all(self.sums, terms.sums)
        lows, highs = _merged(self.lows, terms.lows, _least), _merged(self.highs, terms.highs, _greatest)
        self.sums, self.lows, self.highs = sums, lows, highs
        # In place: histograms are so long that new memory for each would take most of the time.
        for name, counts in terms.counts.items():
            if name in self.counts:
                self.counts[name] += counts
            else:
                self.counts[name] = np.array(counts, np.int64)
        self.frames += terms.frames
        self.minibatches += 1

    def merge(self, other: Tally) -> Tally:
        """The tally of both; neither is changed.

        Raises:
            UsageError: Arrays of one name have different shapes.
        """
        merged = Tally()
        merged.frames = self.frames + other.frames
        merged.minibatches = self.minibatches + other.minibatches
        merged.sums = _merged(self.sums, other.sums, lambda a, b: a.merge(b))
        # Never shared: add() changes them in place.
        merged.counts = {name: counts.copy() for name, counts in self.counts.items()}
        for name, counts in other.counts.items():
            if name in merged.counts:
                _check_shape(name, merged.counts[name], counts)
                merged.counts[name] += counts
            else:
                merged.counts[name] = counts.copy()
        merged.lows = _merged(self.lows, other.lows, _least)
        merged.highs = _merged(self.highs, other.highs, _greatest)
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return (
            (self.frames, self.minibatches, self.sums) == (other.frames, other.minibatches, other.sums)
            and _same(self.counts, other.counts)
            and _same(self.lows, other.lows)
            and _same(self.highs, other.highs)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes with every add

    def mean(self, name: str) -> Float64Array:
        """The sum of that name over the number of frames."""
        return self.sums[name].values() / max(1, self.frames)

    def count_of(self, name: str, default: int = 0) -> int:
        """All counts of that name together; ``default`` where there are none."""
        return int(self.counts[name].sum()) if name in self.counts else default

    def to_arrays(self) -> dict[str, Array]:
        """Plain arrays, named ``KIND/NAME``, with ``size``: frames and minibatches."""
        arrays: dict[str, Array] = {"size": np.array([self.frames, self.minibatches], np.int64)}
        arrays |= {f"sum/{k}": v.to_array() for k, v in self.sums.items()}
        arrays |= {f"count/{k}": v for k, v in self.counts.items()}
        arrays |= {f"low/{k}": v for k, v in self.lows.items()}
        return arrays | {f"high/{k}": v for k, v in self.highs.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Read what :meth:`to_arrays` gave.

        Raises:
            InputError: An array is missing, or of the wrong dtype or shape.
        """
        tally = cls()
        size = arrays.get("size")
        if size is None or size.shape != (2,) or size.dtype != np.int64 or (size < 0).any():
            raise InputError("the statistics lack their number of frames", "collect them again")
        tally.frames, tally.minibatches = map(int, size)
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "sum":
                tally.sums[name] = ExactSums.from_array(array)
            elif kind == "count" and array.dtype == np.int64:
                tally.counts[name] = array
            elif kind == "low" and array.dtype == np.float64:
                tally.lows[name] = array
            elif kind == "high" and array.dtype == np.float64:
                tally.highs[name] = array
            elif key != "size":
                raise InputError(f"the statistics hold {key} as {array.dtype}", "collect them again")
        return tally


def _merged(a: Mapping[str, Any], b: Mapping[str, Any], join: Any) -> dict[str, Any]:
    merged = {**a, **b}
    for name in a.keys() & b.keys():
        _check_shape(name, a[name], b[name])
        merged[name] = join(a[name], b[name])
    return merged


def _least(a: Array, b: Array) -> Array:
    # Of 0 and -0 NumPy takes the second: 0 more makes 0 of both.
    return np.minimum(a, b) + 0.0


def _greatest(a: Array, b: Array) -> Array:
    return np.maximum(a, b) + 0.0


def _check_shape(name: str, a: Any, b: Any) -> None:
    if np.shape(a) != np.shape(b):
        raise UsageError(f"{name} has two shapes", "merge runs of the same networks")


def _same(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
