"""One tap's part of a minibatch: a sample of its features of every frame, and moments and ranges of some frames.

**Sample.** Comparing 64 frames by all features of a large tap would cost more than running the network. So a large tap
gives two samples per minibatch, drawn anew for each: one group of neighbouring features out of each of many equally
long stretches of the tensor, at a random place, every feature with the same probability. A sample's Gram matrix, scaled
by the reciprocal of that probability, has the Gram matrix of all features as its mean. HSIC is linear in each of its
two matrices, so that HSIC between taps has the right mean, and so has HSIC of a tap with itself if it is taken between
its two samples (Horvitz and Thompson, J. Am. Stat. Assoc. 47, 1952, for the weights). What chance adds shrinks with the
number of minibatches and is part of the interval that a jackknife over minibatches gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.calibration.defaults import FEATURES
from multigraft.errors import UsageError
from multigraft.statistics import entries
from multigraft.statistics.similarity import FEATURE_BLOCK
from multigraft.statistics.subject import Tap
from multigraft.statistics.tally import Terms
from multigraft.statistics.value_histogram import count
from multigraft.tensors.arrays import Array, Float32Array, Float64Array

LEAST_FEATURES = 128
_NEAR_BYTES = 1 << 20

DETAIL_EVERY = 8
"""Channel moments, ranges and histograms of values are of every eighth frame: they settle long before similarity does.
Moments and ranges are of all its values, histograms of a sample."""

_GROUPS = ((np.complex128, 4), (np.complex64, 2), (np.float32, 1))
"""Types that numpy moves as one, by the float32 values that they hold."""


def plan_samples(taps: Sequence[Tap], minibatch: int, memory_bytes: int, features: int = FEATURES) -> dict[str, int]:
    """Tap to features per sample, for taps that are not used whole.

    Args:
        taps: All taps.
        minibatch: Frames per minibatch.
        memory_bytes: Bound for what is kept of them; fewer than ``features`` are sampled where that would not fit.
        features: Features per sample at most.

    Raises:
        UsageError: Not even 128 features per sample fit.
    """
    room = memory_bytes // (4 * minibatch)
    least = min(features, LEAST_FEATURES)
    low, high = 0, features
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(min(t.features, 2 * middle) for t in taps) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    if low < least:
        raise UsageError(
            f"{len(taps)} taps of {minibatch} frames do not fit into {memory_bytes >> 20} MiB",
            "allow more memory or give a smaller minibatch",
        )
    return {t.name: low for t in taps if t.features > 2 * low}


class TapSample:
    """What a minibatch keeps of one tap.

    Args:
        tap: The tap; about ``tap.sampled`` features make one sample.
        minibatch: Frames at most.
        source: The interpreter's array that holds the tap.

    Attributes:
        width: Features kept per frame: of both samples, or all.
        picked: Numbers of the groups of features that are kept.
        rows: float32, frames x :attr:`width`: where they are kept; set by :func:`make_readers`.
    """

    def __init__(self, tap: Tap, minibatch: int, source: Float32Array) -> None:
        self.tap = tap
        self.source: Float32Array = source.reshape(-1)
        if not np.shares_memory(self.source, source):
            raise UsageError(f"tap {tap.name} is not contiguous", "prepare the taps bundle again")
        self.kind, self._size = next(
            (k, n) for k, n in _GROUPS if tap.features % n == 0 and self.source.view(k).flags.aligned
        )
        drawn = -(-tap.sampled // self._size)
        groups = tap.features // self._size
        self._half = drawn * self._size
        self._starts = np.arange(2 * drawn) % max(1, drawn)
        self._stretch = groups / drawn if drawn else 1.0
        self._last = groups - 1
        self.picked: npt.NDArray[np.intp] = np.arange(0 if self._half else groups)
        self.width = 2 * self._half or tap.features
        self.rows: Float32Array = np.empty((0, 0), np.float32)
        channels = tap.shape[-1]
        self._positions = tap.features // channels
        detailed = -(-minibatch // DETAIL_EVERY)
        self._table = self.source.reshape(self._positions, channels)
        self._average: Float32Array = np.full(self._positions, 1 / self._positions, np.float32)
        self._means: Float32Array = np.empty((detailed, channels), np.float32)
        self._squares: Float32Array = np.empty((detailed, channels), np.float32)
        self._limits = np.empty((detailed, 2))
        self._values: list[Float32Array] = []

    def draw(self, random: np.random.Generator) -> None:
        """Choose the features that are kept from now on."""
        if self._half:
            places = (self._starts + random.random(len(self._starts))) * self._stretch
            self.picked = np.minimum(places, self._last).astype(np.intp)

    def look(self, number: int, scratch: Float32Array) -> None:
        """Moments and limits of what the interpreter holds now.

        Args:
            number: Number of the frame among those looked at.
            scratch: At least as long as the tap has features; overwritten.
        """
        squares = scratch[: self.source.size].reshape(self._table.shape)
        np.matmul(self._average, self._table, out=self._means[number])
        np.matmul(self._average, np.square(self._table, out=squares), out=self._squares[number])
        self._limits[number] = np.minimum.reduce(self.source), np.maximum.reduce(self.source)

    def count_values(self, frames: int) -> None:
        """Note values for their histogram, of what is kept of some of the frames."""
        self._values.append(self.rows[:frames:DETAIL_EVERY, : self._half or None].reshape(-1).copy())

    def forget(self) -> None:
        """Forget the values noted."""
        self._values.clear()

    def grams(self, frames: int, out: Float64Array, scratch: Float32Array) -> None:
        """Write Gram matrices of the minibatch: by each sample, or by all features if the tap is used whole.

        Args:
            frames: Frames in the minibatch.
            out: 2 x frames x frames by the samples, 1 x frames x frames if whole.
            scratch: Frames x :data:`FEATURE_BLOCK`, or the width where that is less; overwritten.
        """
        length = self._half or self.width
        out[...] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for number, gram in enumerate(out):
                begin = number * length
                for start in range(begin, begin + length, FEATURE_BLOCK):
                    rows = self.rows[:frames, start : min(start + FEATURE_BLOCK, begin + length)]
                    # Centring comes later; without what all frames share they keep their digits in float32.
                    block = np.subtract(rows, rows[0], out=scratch[:frames, : rows.shape[1]])
                    gram += block @ block.T
            if self._half:
                out *= self.tap.features / self._half

    def mean(self, frames: int) -> Float64Array:
        """Mean of each channel over the frames of the minibatch that were looked at."""
        mean: Float64Array = self._means[: -(-frames // DETAIL_EVERY)].mean(axis=0, dtype=np.float64)
        return mean

    def summarise(self, frames: int, terms: Terms) -> None:
        """Add channel sums, ranges and the histogram of values."""
        name, detailed = self.tap.name, -(-frames // DETAIL_EVERY)
        for entry, means in ((entries.channel_sums, self._means), (entries.channel_squares, self._squares)):
            terms.sums[entry(name)] = means[:detailed].sum(axis=0, dtype=np.float64) * self._positions
        terms.counts[entries.value_counts(name)] = count(np.concatenate(self._values))
        limit(terms, name, self._limits[:detailed, 0].min(), self._limits[:detailed, 1].max())


class Reader:
    """Copies what a minibatch keeps of several taps, which lie in one stretch of memory, in one call.

    Args:
        samples: Samples of one network with one kind of group.
        groups: The memory from the first of these taps on, as groups.
        rows: float32, frames x widths of the samples together.
    """

    def __init__(self, samples: Sequence[TapSample], groups: Array, rows: Float32Array) -> None:
        self._samples, self._groups = samples, groups
        self._offsets = [_distance(groups, s.source) // groups.itemsize for s in samples]
        self._rows = [row.view(groups.dtype) for row in rows]
        self._picked = np.empty(0, np.intp)

    def follow(self) -> None:
        """Take from now on what the samples have drawn."""
        pairs = zip(self._samples, self._offsets, strict=True)
        self._picked = np.concatenate([sample.picked + offset for sample, offset in pairs])

    def take(self, position: int) -> None:
        """Copy them out of what the interpreter holds now."""
        # Indices are within bounds; "clip" lets numpy write into out without a buffer.
        self._groups.take(self._picked, out=self._rows[position], mode="clip")


def make_readers(samples: Sequence[TapSample], frames: int) -> list[Reader]:
    """Give every sample its rows, and make the readers that fill them: one per network where memory allows."""
    readers = []
    by_network: dict[tuple[str, Any], list[TapSample]] = {}
    for sample in samples:
        by_network.setdefault((sample.tap.network, sample.kind), []).append(sample)
    for (_, kind), members in by_network.items():
        members.sort(key=lambda s: s.source.ctypes.data)
        first, last = members[0].source, members[-1].source
        span = _distance(first, last) + last.nbytes
        size = np.dtype(kind).itemsize
        # The interpreter keeps a subgraph's tensors in one block of memory, at multiples of 64 bytes. What lies between
        # the taps is never read.
        together = span <= 4 * sum(s.source.nbytes for s in members) + _NEAR_BYTES and not any(
            _distance(first, s.source) % size for s in members
        )
        for group in [members] if together else [[s] for s in members]:
            source = group[0].source.view(kind)
            length = (_distance(source, group[-1].source) + group[-1].source.nbytes) // size
            groups = np.lib.stride_tricks.as_strided(source, (length,), (size,), writeable=False)
            rows: Float32Array = np.zeros((frames, sum(s.width for s in group)), np.float32)
            start = 0
            for sample in group:
                sample.rows = rows[:, start : start + sample.width]
                start += sample.width
            readers.append(Reader(group, groups, rows))
    return readers


def _distance(first: Array, second: Array) -> int:
    return int(second.ctypes.data - first.ctypes.data)


def limit(terms: Terms, name: str, low: float, high: float) -> None:
    """Add a least and a greatest value."""
    terms.lows[name], terms.highs[name] = np.array(low, np.float64), np.array(high, np.float64)
