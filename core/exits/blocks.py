"""Errors that come in runs: how long neighbours err together, and a bound that counts blocks of frames.

Of frames that follow each other a wrong answer seldom comes alone, and the binomial tail, which takes every frame for a
new one, promises too much. So frames are counted in blocks that are longer than what errors have in common. Whoever
doubts the promise ``p`` bets on each block: with ``d``, the mean over its frames of ``p * taken - wrong``, a stake
``c`` becomes ``1 + c * d`` times as much. Where the promise is broken ``d`` is 0 or less in the mean, so that the
stake ever reaches ``1 / risk`` with a probability of ``risk`` at most, whatever happens within a block: all frames of
one may be wrong together (Waudby-Smith and Ramdas, Estimating Means of Bounded Random Variables by Betting, arXiv
2010.09686). Blocks are taken for independent, hence their length.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


LENGTHS = 2
"""Blocks have so many times the frames that one independent frame stands for."""

STAKES = ((0.9, 0.6), (0.5, 0.1), (0.25, 0.1), (0.12, 0.1), (0.06, 0.1))
"""Shares of the largest stake that cannot be lost, and of the capital; few wrong answers are shown by the first."""


def block_length(wrong: Bools, deviations: float = 2.0) -> int:
    """Frames of a block: 1 where neighbours err no more alike than others.

    Errors of ``n`` frames scatter as those of ``n / t`` independent ones do, where ``t`` is 1 and twice the sum of
    their autocorrelations (the integrated autocorrelation time, as of Markov chains: Geyer, Statistical Science 7,
    1992), as far as these are more than chance.

    Args:
        wrong: (rows, frames) whether a frame is wrong, in the order of the camera; a row for each threshold.
        deviations: How many standard deviations of chance an autocorrelation has to exceed.
    """
    frames = wrong.shape[1]
    centred = wrong - wrong.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * frames, axis=1)
    together = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=0))[: frames // 4]
    if not len(together) or together[0] <= 1e-9:
        return 1
    time = 1.0
    for share in (together / together[0])[1:].tolist():
        if share < deviations / math.sqrt(frames):
            break
        time += 2 * share
    return 1 if time == 1 else math.ceil(LENGTHS * time)


@dataclass(frozen=True)
class Blocks:
    """Blocks of one length, and what is asked of them.

    Attributes:
        frames: Of a block; above 1.
        allowed: Share of the taken frames that may be wrong.
    """

    frames: int
    allowed: float

    def chance(self, taken: Bools, wrong: Bools) -> float:
        """At most the probability that so few are wrong although the promise is broken; what is left over counts not.

        Args:
            taken: (frames,) which of them the promise is about.
            wrong: (frames,) which of those are wrong.
        """
        count = len(taken) // self.frames
        gains = (self.allowed * taken - wrong)[: count * self.frames].reshape(count, self.frames).mean(axis=1)
        capital = np.zeros(count)
        for stake, share in STAKES:
            growth = np.cumsum(np.log1p(stake / (1 - self.allowed) * gains))
            capital += share * np.exp(np.minimum(growth, 600.0))
        return float(min(1.0, 1 / max(capital.max(initial=0.0), 1e-300)))


def least_blocks(allowed: float, risk: float) -> int:
    """Fewest blocks that can show a promise at all: all of their frames are taken, and none is wrong."""
    growths = [(math.log1p(stake / (1 - allowed) * allowed), share) for stake, share in STAKES]

    def is_enough(count: int) -> bool:
        return sum(share * math.exp(min(count * growth, 600.0)) for growth, share in growths) >= 1 / risk

    # The first stake alone gets there with so many.
    most = math.ceil(math.log(1 / risk / STAKES[0][1]) / growths[0][0]) + 1
    return bisect.bisect_left(range(most), True, key=is_enough)


def in_blocks(frames: int) -> str:
    """For people."""
    return f"in blocks of {frames:,}, as neighbours err alike" if frames > 1 else "that count one by one"
