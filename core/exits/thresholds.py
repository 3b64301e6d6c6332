"""The lowest threshold of an exit that keeps a promise, by tests in a sequence that was fixed beforehand.

Thresholds are tried from the surest on. Each is tested for "the exit answers otherwise than the whole network more
often than allowed" by the exact binomial tail (Clopper and Pearson, Biometrika 26, 1934) at a risk of its own, and
hands that risk on to the next if the hypothesis falls: the fallback procedure (Wiens and Dmitrienko, J. Biopharm. Stat.
15, 2005), which is fixed-sequence testing where the first has all of the risk. The probability that any accepted
threshold breaks the promise is at most the sum of the risks. Angelopoulos et al., Learn then Test (arXiv 2110.01052),
choose thresholds so.

Which thresholds are tried, and where risk is placed, must not depend on the frames that test.

- A **selective** promise is of the frames that take the exit. At 10 % of exits a marginal promise of 1 % would allow
  every tenth exit to be wrong (arXiv 2602.03043).
- A **marginal** one is of all frames: those that take the exit and are wrong, among all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.agreement.binomial import frames_needed, tail
from multigraft.exits.blocks import Blocks, Bools
from multigraft.exits.policy import PromiseKind
from multigraft.tensors.arrays import Float64Array

STEPS = 48
"""Thresholds in a sequence."""
STARTS = 3
"""Places at which risk is put where frames are plenty."""
PLENTY = 4
"""Times the least number of frames from which on they are."""
ROOM = 1.25
"""The first threshold is to be taken by so many times the least number of frames: counts scatter."""
ROOM_OF_BLOCKS = 2.0
"""Likewise where blocks are counted, whose bound takes more of them."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a threshold.

    Attributes:
        kind: Of which frames the share is.
        max_disagreement: Share that may be answered otherwise, above 0 and below 1.
        confidence: Above 0 and below 1.
    """

    kind: PromiseKind
    max_disagreement: float
    confidence: float

    @property
    def least_frames(self) -> int:
        """Frames, all answered alike, that can show it at all: 299 for 1 % at 95 %.

        Of a selective promise these take the exit, so that it needs this number over the rate of the exit in all.
        """
        return frames_needed(1 - self.max_disagreement, self.confidence)

    def split(self, parts: int) -> Asked:
        """What is asked of each of several exits, so that all together keep it.

        A selective promise of every exit is one of all of them; a marginal one adds up.
        """
        share = self.max_disagreement / parts if self.kind == "marginal" else self.max_disagreement
        return Asked(self.kind, share, 1 - (1 - self.confidence) / parts)


@dataclass(frozen=True)
class TestSequence:
    """Thresholds in the order in which they are tested, and the risk that is put at each.

    Attributes:
        least: Smallest sureness that exits, falling.
        risks: Of the same length; they add up to what is allowed.
    """

    least: Float64Array
    risks: Float64Array


@dataclass(frozen=True)
class Threshold:
    """The lowest threshold that was accepted.

    Attributes:
        sureness: The smallest that exits.
        taken: Frames that exit by it.
        disagreed: How many of those are answered otherwise.
    """

    sureness: float
    taken: int
    disagreed: int


def sequence_of(surenesses: Float64Array, asked: Asked, frames: int, block: int = 1) -> TestSequence:
    """The sequence to test, from the sureness of other frames than those that will test.

    Args:
        surenesses: (n,) of frames that reach the exit, n at least 1.
        asked: What will be asked.
        frames: How many frames will be counted: for a selective promise those that reach the exit, for a marginal one
            all of them. The number that reach it must not place the risks of a marginal promise: what disagrees is
            counted among them.
        block: How many of them count as one.
    """
    frames, room = max(1, frames // block), ROOM if block == 1 else ROOM_OF_BLOCKS
    falling = np.sort(surenesses)[::-1]
    starts = STARTS if block == 1 and frames >= PLENTY * asked.least_frames else 1
    needed = frames_needed(1 - asked.max_disagreement, 1 - (1 - asked.confidence) / starts)
    first = min(1.0, room * needed / frames) if asked.kind == "selective" else 1 / STEPS
    rates = np.geomspace(first, 1.0, STEPS)
    places = np.clip(np.ceil(rates * len(falling)).astype(int) - 1, 0, len(falling) - 1)
    # Between two values that occur: no frame is to lie on a threshold, where rounding would decide.
    below = falling[np.minimum(places + 1, len(falling) - 1)]
    least = np.unique((falling[places] + below) / 2)[::-1]
    risks = np.zeros(len(least))
    places = np.unique(np.linspace(0, len(least), starts, endpoint=False).astype(int))
    risks[places] = (1 - asked.confidence) / len(places)
    return TestSequence(least, risks)


def choose_threshold(
    surenesses: Float64Array,
    agrees: Bools,
    asked: Asked,
    sequence: TestSequence,
    frames: int | None = None,
    block: int = 1,
) -> Threshold | None:
    """The lowest threshold of the sequence that keeps what is asked; None if none can be shown to.

    Args:
        surenesses: (n,) of frames that reach the exit, which nothing was chosen by.
        agrees: (n,) whether the exit answers as the whole network does.
        asked: What is asked.
        sequence: From :func:`sequence_of`, of other frames.
        frames: All frames, with those that took an earlier exit; None if all reach this one.
        block: Frames that count as one, as neighbours err alike.
    """
    every = len(surenesses) if frames is None else frames
    order = np.argsort(-surenesses, kind="stable")
    falling, wrong = surenesses[order], np.cumsum(~agrees[order])
    counts = []
    for least in sequence.least:
        taken = int(np.searchsorted(-falling, -least, side="right"))
        counts.append(Threshold(float(least), taken, int(wrong[taken - 1]) if taken else 0))
    chances = None if block == 1 else _by_blocks(surenesses, agrees, asked, sequence, block)
    found = accepted(counts, asked, sequence.risks, every, chances)
    return found[-1] if found and found[-1].taken else None


def accepted(
    counts: Sequence[Threshold],
    asked: Asked,
    risks: Iterable[float],
    frames: int,
    chances: Sequence[float] | None = None,
) -> list[Threshold]:
    """Those of a sequence that are shown to keep what is asked, all of them together.

    Args:
        counts: Of each threshold in the order of the tests, how many frames took it and how many of those disagreed.
        asked: What is asked.
        risks: Put at each; they add up to what is allowed.
        frames: All frames.
        chances: Of each threshold, at most the probability of so few that disagree although it breaks the promise;
            None for the binomial tail, which takes frames for independent.
    """
    found: list[Threshold] = []
    carried = 0.0
    for number, (one, risk) in enumerate(zip(counts, risks, strict=True)):
        level = carried + float(risk)
        trials = one.taken if asked.kind == "selective" else frames
        carried = 0.0
        if level <= 0 or not trials:
            continue
        chance = _chance(one.disagreed, trials, asked.max_disagreement) if chances is None else chances[number]
        if chance <= level:
            carried = level
            found.append(one)
    return found


def _by_blocks(
    surenesses: Float64Array, agrees: Bools, asked: Asked, sequence: TestSequence, block: int
) -> list[float]:
    """Of each threshold, how likely so few errors are although it breaks the promise.

    Frames that do not reach the exit are in no block: of a marginal promise that is careful.
    """
    blocks, every = Blocks(block, asked.max_disagreement), np.ones(len(surenesses), bool)
    taken = [surenesses >= least for least in sequence.least]
    return [blocks.chance(one if asked.kind == "selective" else every, one & ~agrees) for one in taken]


def expected_rate(
    surenesses: Float64Array, agrees: Bools, asked: Asked, frames: int, every: int | None = None
) -> float:
    """Largest share of exits that ``frames`` frames would show, if they are as these are.

    Args:
        surenesses: (n,) of frames that reach the exit, n at least 1.
        agrees: (n,) whether the exit answers as the whole network does.
        asked: What will be asked.
        frames: How many that reach the exit will test.
        every: With those that took an earlier exit; None if all reach this one.
    """
    order = np.argsort(-surenesses, kind="stable")
    rates = np.cumsum(~agrees[order]) / len(order)
    best = 0.0
    risk = 1 - asked.confidence
    for share in np.linspace(0, 1, STEPS + 1)[1:]:
        taken = max(1, round(share * len(order)))
        # Half a frame more, since none that disagrees among few is no proof of none.
        disagreed = math.ceil((float(rates[taken - 1]) + 0.5 / len(order)) * frames)
        trials = round(share * frames) if asked.kind == "selective" else (frames if every is None else every)
        if trials and _chance(min(disagreed, trials), trials, asked.max_disagreement) <= risk:
            best = float(share)
    return best


def expected_risk(share: float, disagreed: float, asked: Asked, seen: int, frames: int) -> float:
    """The risk at which ``frames`` frames would show the promise, if they are as those seen; 1 if they show nothing.

    Args:
        share: Of those seen that leave.
        disagreed: Share of those seen that leave and disagree.
        asked: What will be asked.
        seen: How many were.
        frames: How many will test.
    """
    # Half a frame more, since none that disagrees among few is no proof of none.
    wrong = math.ceil((disagreed + 0.5 / seen) * frames)
    trials = round(share * frames) if asked.kind == "selective" else frames
    return tail(trials - min(wrong, trials), trials, 1 - asked.max_disagreement) if trials else 1.0


def _chance(disagreed: int, trials: int, allowed: float) -> float:
    """How likely it is that so few disagree if the true share is ``allowed`` or more."""
    return tail(trials - disagreed, trials, 1 - allowed)


def frames_told(asked: Asked, rates: Sequence[float]) -> str:
    """How many frames a promise needs, for people, before anything is fitted."""
    least = asked.least_frames
    if asked.kind == "marginal":
        return f"{least:,} frames that all agree are the least"
    needed = ", ".join(f"{math.ceil(least / rate):,} where {100 * rate:g} % exit" for rate in rates)
    return f"{least:,} frames that exit and all agree are the least: {needed}"
