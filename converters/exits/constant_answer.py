"""Whether an exit is more than one class for all frames, as far as the frames of its test can tell.

An exit that lets all frames leave with one class keeps its promise wherever the whole network hardly says anything
else. Such frames show nothing of what it does with others. What can be seen is whether it leaves those to the whole
network: if it leaves none, it is blind, and if it might have left as many by chance, little is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.agreement.binomial import tail
from multigraft.converters.exits.inserting import Inserted
from multigraft.exits.blocks import Bools
from multigraft.exits.thresholds import Asked

Classes = npt.NDArray[np.int64]
_BY_CHANCE = 0.05
"""Probability from which on it could have left those frames without looking at them."""


@dataclass(frozen=True)
class ConstantAnswer:
    """What is known of an exit that gives one class alone.

    Attributes:
        answer: That class.
        reached: Frames of the test that reach it.
        taken: How many take it.
        others: Frames that reach it and are of another class, by the whole network.
        left: How many of those it leaves to the whole network.
    """

    answer: int
    reached: int
    taken: int
    others: int
    left: int

    @property
    def is_blind(self) -> bool:
        """No frame of another class was seen to be left alone."""
        return self.left == 0

    def in_words(self, one: Inserted, asked: Asked, labels: Sequence[str]) -> str:
        """A sentence without a full stop."""
        answer = repr(labels[self.answer]) if labels else f"class {self.answer}"
        other = f"{self.others:,} are of another class" if self.others else "none is of another class"
        known = (
            f"{one.segment} of {one.task} answers {answer} alone, on {self.taken:,} of the {self.reached:,} frames "
            f"that reach it; {other} by the whole network"
        )
        if self.is_blind:
            takes = ", and it takes those, too" if self.others else ""
            return (
                f"{known}{takes}: a constant would keep its promise as well, so it is left out; give frames of other "
                f"classes, more than {100 * asked.max_disagreement:g} % of all"
            )
        return (
            f"{known}, of which it leaves {self.left:,} to the whole network, as it might by chance: what it does with "
            "frames of other classes is hardly known; give more of those"
        )


def constant_answer(said: Classes, whole: Classes, taken: Bools) -> ConstantAnswer | None:
    """What is to be said of an exit that may be a constant; None of one that is not.

    Args:
        said: (n,) its classes for the frames that reach it.
        whole: (n,) those of the whole network.
        taken: (n,) the frames that take it, one at least.
    """
    answers = np.unique(said[taken])
    if len(answers) > 1:
        return None
    answer = int(answers[0])
    others = whole != answer
    count, left = int(others.sum()), int((others & ~taken).sum())
    if left and tail(left, count, 1 - float(taken.mean())) <= _BY_CHANCE:
        return None
    return ConstantAnswer(answer, len(taken), int(taken.sum()), count, left)
