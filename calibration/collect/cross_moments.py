"""Second moments within and between cut points of two networks: what a 1x1 stitch is solved from at home.

For a pair of taps with equal positions the channels' products are summed over frames and some positions of each. The
sums are as large as the squares of channel numbers, so they are of some minibatches only; ``prepare`` chose the
pairs so that all of them stay small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.statistics import entries
from multigraft.statistics.subject import Subject
from multigraft.statistics.tally import Terms
from multigraft.tensors.arrays import Float32Array

EARLY = 8
"""Minibatches at the start in which every frame is watched, so that a short run has enough."""

EVERY, EVERY_FRAME = 4, 2
"""After them, one minibatch of so many is watched, and one frame of so many in it."""

POSITIONS = 8
"""Most positions of a frame, at random: neighbours tell little that is new, and other frames tell more. One lies in
each of so many equally long stretches of the tap; all taps with as many positions give the same ones."""

BLOCK = 16
"""Frames whose positions are multiplied in one go."""

_STREAM = 2
"""Tells these random numbers from those of other samples of the same minibatch."""


class CrossMoments:
    """Sums of one minibatch.

    Args:
        runner: Runs the networks.
        subject: The subject whose pairs are watched.
        site: A number that stands for the place, so that places draw positions of their own.
    """

    def __init__(self, runner: TapsRunner, subject: Subject, site: int = 0) -> None:
        self._pairs, self._site = subject.pairs, site
        names = dict.fromkeys(name for pair in self._pairs for name in pair)
        widths = {tap.name: tap.shape[-1] for tap in subject.taps}
        self._tables: dict[str, Float32Array] = {n: runner.arrays[n].reshape(-1, widths[n]) for n in names}
        self._rows: dict[str, Float32Array] = {
            n: np.empty((BLOCK, min(len(t), POSITIONS), widths[n]), np.float32) for n, t in self._tables.items()
        }
        self._picked: dict[int, npt.NDArray[np.intp]] = {}
        self._sums: dict[str, Float32Array] = {}
        self._frames = 0

    def look(self, number: int, position: int) -> bool:
        """Note the frame that was run last, if it is to be watched; returns whether it is.

        Args:
            number: Number of its minibatch in the store.
            position: Position of the frame in the minibatch.
        """
        if not self._pairs or (number >= EARLY and (number % EVERY or position % EVERY_FRAME)):
            return False
        place = self._frames % BLOCK
        if place == 0:
            self._draw(number)
        for name, table in self._tables.items():
            table.take(self._picked[len(table)][place], axis=0, out=self._rows[name][place], mode="clip")
        self._frames += 1
        if place + 1 == BLOCK:
            self._multiply(BLOCK)
        return True

    def _draw(self, number: int) -> None:
        random = np.random.default_rng((self._site, number, _STREAM, self._frames))
        for length in sorted({len(table) for table in self._tables.values()}):
            picked = min(length, POSITIONS)
            places = (np.arange(picked) + random.random((BLOCK, picked))) * (length / picked)
            self._picked[length] = np.minimum(places, length - 1).astype(np.intp)

    def _multiply(self, frames: int) -> None:
        tables = {name: rows[:frames].reshape(-1, rows.shape[2]) for name, rows in self._rows.items()}
        sums = {entries.first_moments(name): table.sum(axis=0) for name, table in tables.items()}
        sums |= {entries.second_moments(name): table.T @ table for name, table in tables.items()}
        sums |= {entries.cross_moments(a, b): tables[a].T @ tables[b] for a, b in self._pairs}
        for key, value in sums.items():
            if key in self._sums:
                self._sums[key] += value
            else:
                self._sums[key] = value

    def summarise(self, terms: Terms) -> None:
        """Add what was seen since the last call, and forget it."""
        if rest := self._frames % BLOCK:
            self._multiply(rest)
        if self._frames:
            terms.counts[entries.CROSSED] = np.array(self._frames, np.int64)
            for name, rows in self._rows.items():
                terms.counts[entries.cross_rows(name)] = np.array(self._frames * rows.shape[1], np.int64)
            terms.sums |= {key: value.astype(np.float64) for key, value in self._sums.items()}
        self.discard()

    def discard(self) -> None:
        """Forget what was seen."""
        self._sums, self._frames = {}, 0
