"""Second moments within and between cut points of two networks: what a 1x1 stitch is solved from at home.

For a pair of taps with equal positions the channels' products are summed over positions and frames. The sums are as
large as the squares of channel numbers, so they are of every :data:`EVERY`-th minibatch; ``prepare`` chose the pairs so
that all of them stay small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multigraft.calibration.tapped import Real, TappedModel
from multigraft.statistics import CROSSED, Subject
from multigraft.tally import Terms

EVERY = 4


class CrossMoments:
    """Sums of one minibatch.

    Args:
        model: That is run.
        subject: Whose pairs are watched.
    """

    def __init__(self, model: TappedModel, subject: Subject) -> None:
        self._pairs = subject.pairs
        names = dict.fromkeys(name for pair in self._pairs for name in pair)
        widths = {tap.name: tap.shape[-1] for tap in subject.taps}
        self._tables: dict[str, Real] = {n: model.arrays[n].reshape(-1, widths[n]) for n in names}
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self._frames = 0

    def look(self, number: int) -> None:
        """Add the frame that was run last, if its minibatch, the ``number``-th of the store, is to be watched."""
        if number % EVERY or not self._pairs:
            return
        found: dict[str, Real] = {}
        for name, table in self._tables.items():
            found[f"first/{name}"] = table.sum(axis=0)
            found[f"second/{name}"] = table.T @ table
        for a, b in self._pairs:
            found[f"cross/{a}|{b}"] = self._tables[a].T @ self._tables[b]
        for key, value in found.items():
            held = self._sums.get(key)
            self._sums[key] = value.astype(np.float64) if held is None else held + value
        self._frames += 1

    def summarise(self, terms: Terms) -> None:
        """Add what was seen since the last call, and forget it."""
        if self._frames:
            terms.counts[CROSSED] = np.array(self._frames, np.int64)
            terms.sums |= self._sums
        self.discard()

    def discard(self) -> None:
        """Forget what was seen."""
        self._sums, self._frames = {}, 0
