"""The narrowest tree that every task of it can bear: what each may lose is found in a few rounds, each for itself.

What fewer channels cost a task's answers is known as a squared error, from the survey. How many answers differ for
that, a round shows. Answers differ where their margins are smaller than the error, so their number grows about as its
root. With that each round says what the next may cost each task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.thinning.allot import allot_within
from multigraft.converters.thinning.survey import Survey
from multigraft.converters.thinning.tree import ThinnedTree

ROUNDS = 5

FIRST_SLOPE = 0.3
"""Part of answers that differ, over the root of the squared error, before anything is known of a task."""

RESERVE = 0.1
"""Of what a task may lose, the part that is left to int8 and to the luck of the frames that choose."""

AIM = 0.95
"""Of what is left then, the part that a round aims at: half of those that aim at all of it miss."""

MOST_GROWTH = 16.0
"""By which what a task may lose is raised or lowered at once."""

ENOUGH = 0.97
"""No further round is made for less than the rest of the cost."""


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
    made: Callable[[Sequence[int], str], ThinnedTree | None],
    macs: float = 1.0,
) -> ThinnedTree | None:
    """The cheapest tree of a few rounds that keeps what every task has to show; None where no channel can go.

    Args:
        found: What was seen of the tree as it is.
        losses: Of its tasks, in the order of ``found``.
        made: Makes and judges a tree of so many channels of each group; the text says how far it goes.
        macs: As :attr:`multigraft.converters.thinning.allot.Cost.macs`.
    """
    rooms = np.array([task.room for task in losses])
    if not found.groups or rooms.min() <= 0:
        return None
    allowed = (AIM * rooms / FIRST_SLOPE) ** 2
    best: ThinnedTree | None = None
    tried: set[tuple[int, ...]] = set()
    for number in range(1, ROUNDS + 1):
        widths = tuple(allot_within(found, allowed, macs))
        if widths in tried:
            break
        tree = made(widths, f"(round {number} of at most {ROUNDS})")
        if tree is None and not tried:
            allowed = allowed * MOST_GROWTH
            continue
        if tree is None:
            break
        tried.add(widths)
        if all(task.keeps(tree.bounds[task.task]) for task in losses):
            is_enough = best is not None and _cost(tree, macs) > ENOUGH * _cost(best, macs)
            best = tree if best is None or _cost(tree, macs) < _cost(best, macs) else best
            if is_enough:
                break
        spent = np.array([1 - tree.bounds[task.task] - task.already for task in losses])
        # With no answer that differs the slope is unknown, and the next round goes as far as one may.
        growth = (AIM * rooms / np.maximum(spent, AIM * rooms / MOST_GROWTH)) ** 2
        lost = np.maximum(found.lost(widths), allowed / MOST_GROWTH)
        allowed = lost * np.clip(growth, 1 / MOST_GROWTH, MOST_GROWTH)
    return best


def _cost(tree: ThinnedTree, macs: float) -> int:
    return tree.macs if macs else tree.weights
