"""The narrowest tree that every task of it can bear: what each may lose is found in a few rounds, each for itself.

What fewer channels cost a task's answers is known as a squared error, from the survey. How many answers differ for
that, a round shows. Answers differ where their margins are smaller than the error, so their number grows about as its
root. With that each round says what the next may cost each task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from multigraft.converters.job.effort import MEDIUM
from multigraft.converters.thinning.allot import allot_within
from multigraft.converters.thinning.survey import Survey
from multigraft.tensors.arrays import Float64Array

FIRST_SLOPE = 0.15
"""Part of answers that differ, over the root of the squared error, before anything is known of a task."""

RESERVE = 0.2
"""Of what a task may lose, the part that is left to int8 and to the luck of the frames that choose."""

AIM = 0.95
"""Of what is left then, the part that a round aims at: half of those that aim at all of it miss."""

ATTEMPTS = 10
"""Rounds with those that make nothing, since no channel can go for so little."""

MOST_GROWTH = 16.0
"""By which what a task may lose is raised at once."""

ENOUGH = 0.97
"""No further round is made for less than the rest of the cost."""


class Judged(Protocol):
    """What a round made."""

    @property
    def bounds(self) -> Mapping[str, float]:
        """Task to the bound of its agreement."""

    @property
    def weights(self) -> int:
        """Parameters."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates on one frame."""


Made = TypeVar("Made", bound=Judged)


@dataclass(frozen=True)
class Losses:
    """What one task loses, as one less the bound of its agreement.

    Attributes:
        task: Its name.
        most: What the budget lets it lose.
        already: What it shows with all channels: sharing costs some, and a bound on few frames is never 1.
    """

    task: str
    most: float
    already: float

    @property
    def room(self) -> float:
        """What thinning may cost it."""
        return (self.most - self.already) * (1 - RESERVE)

    def keeps(self, bound: float) -> bool:
        """Whether a bound leaves what is to be left."""
        return 1 - bound <= self.already + self.room


def narrowest(
    found: Survey,
    losses: Sequence[Losses],
    made: Callable[[Sequence[int], str], Made | None],
    macs: float = 1.0,
    rounds: int = MEDIUM.rounds,
) -> Made | None:
    """The cheapest tree of a few rounds that keeps what every task has to show; None where no channel can go.

    Args:
        found: What was seen of the tree as it is.
        losses: Of its tasks, in the order of ``found``.
        made: Makes and judges a tree of so many channels of each group; the text says how far it goes.
        macs: As :attr:`multigraft.converters.thinning.allot.Cost.macs`.
        rounds: At most.
    """
    rooms = np.array([task.room for task in losses])
    if not found.groups or rooms.min() <= 0:
        return None
    allowed = (AIM * rooms / FIRST_SLOPE) ** 2
    beyond: Float64Array | None = None
    best: Made | None = None
    tried: set[tuple[int, ...]] = set()
    for _ in range(ATTEMPTS):
        widths = tuple(allot_within(found, allowed, macs))
        if len(tried) == rounds or (widths in tried and beyond is None):
            break
        tree = None if widths in tried else made(widths, f"(round {len(tried) + 1} of at most {rounds})")
        if tree is None:
            # No other channel goes for so little: more may, up to what was too much.
            allowed = allowed * MOST_GROWTH if beyond is None else np.sqrt(allowed * beyond)
            continue
        tried.add(widths)
        if all(task.keeps(tree.bounds[task.task]) for task in losses):
            is_enough = best is not None and _cost(tree, macs) > ENOUGH * _cost(best, macs)
            best = tree if best is None or _cost(tree, macs) < _cost(best, macs) else best
            if is_enough:
                break
        else:
            beyond = allowed
        spent = np.array([1 - tree.bounds[task.task] - task.already for task in losses])
        # With no answer that differs the slope is unknown, and the next round goes as far as one may.
        growth = np.minimum((AIM * rooms / np.maximum(spent, 1e-9)) ** 2, MOST_GROWTH)
        allowed = np.maximum(found.lost(widths), allowed / MOST_GROWTH) * growth
    return best


def _cost(tree: Judged, macs: float) -> int:
    return tree.macs if macs else tree.weights
