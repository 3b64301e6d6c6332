"""Which exits pay: heads at all places, judged by exit rate times MACs saved, on frames that no fit has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.exits.heads import Head, Rows, fit_head
from multigraft.converters.exits.places import Place
from multigraft.exits.blocks import Bools, block_length
from multigraft.exits.policy import GATES, Rule
from multigraft.exits.sureness import surenesses
from multigraft.exits.temperature import fit_temperature
from multigraft.exits.thresholds import Asked, expected_rate
from multigraft.tensors.arrays import Float64Array

RULES: tuple[Rule, ...] = ("probability", "margin", "entropy")
LEAST_GAIN = 0.01
"""Share of the task's MACs that an exit, or one more, has to save."""
LEAST_REACHING = 200
"""Frames to fit a later exit on."""
_DEVIATIONS = 3.0
"""Of an autocorrelation of errors that is more than chance: frames in no order are not to be counted in blocks."""


@dataclass(frozen=True)
class Candidate:
    """A place, and what its tensor is on the frames of the fit.

    Attributes:
        place: Where.
        grid: Cells a side.
        features: (frames, features) float32.
    """

    place: Place
    grid: int
    features: Rows


@dataclass(frozen=True)
class Planned:
    """An exit before its threshold is known.

    Attributes:
        place: Where.
        head: What answers.
        rule: What makes an answer sure.
        temperature: Divides its logits.
        surenesses: (n,) of the frames of the fit that reach it, each by a head fitted without it.
        expected_rate: Share of the frames that reach it which will take it, as far as these frames tell.
        reach: (frames of the fit,) which of them reach it.
        logits: (n, classes) of the whole network on those.
        block: Frames that count as one, as neighbours err alike.
    """

    place: Place
    head: Head
    rule: Rule
    temperature: float
    surenesses: Float64Array
    expected_rate: float
    reach: Bools
    logits: Rows
    block: int = 1

    @property
    def is_gate(self) -> bool:
        """Whether it gives no answer of its own; its ``surenesses`` are thresholds to test, in that order."""
        return self.rule in GATES


@dataclass(frozen=True)
class Plan:
    """Exits of one task in running order, and the share of its MACs that they are expected to save."""

    exits: tuple[Planned, ...]
    saved: float


def plan_exits(
    candidates: Sequence[Candidate],
    logits: Rows,
    task_macs: int,
    asked: Asked,
    frames: int,
    most: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """The exits that save most; one more is taken as long as it saves more.

    Args:
        candidates: In running order.
        logits: (frames of the fit, classes) of the whole network.
        task_macs: Of the task without exits.
        asked: The promise of all exits together.
        frames: How many frames will test thresholds.
        most: Exits at most.
        tell: Told how many candidates of how many are judged.
    """
    judge = _Judge(candidates, logits, task_macs, asked, frames)
    best = Plan((), 0.0)
    chosen: tuple[int, ...] = ()
    tried, total = 0, len(candidates)
    for _ in range(most):
        taken = {candidates[i].place.tensor for i in chosen}
        options = [tuple(sorted((*chosen, i))) for i, c in enumerate(candidates) if c.place.tensor not in taken]
        found = best
        for option in options:
            plan = judge(option)
            tried += 1
            tell(min(tried, total), total)
            if plan is not None and plan.saved > found.saved:
                found, chosen = plan, option
        if found.saved < best.saved + LEAST_GAIN:
            break
        best = found
    return best


@dataclass(frozen=True)
class _Fitted:
    """A head, and of the frames that reach it whether it agrees, and how sure it is by each rule."""

    head: Head
    agrees: Bools
    temperature: float
    surenesses: Mapping[Rule, Float64Array]


class _Judge:
    def __init__(
        self, candidates: Sequence[Candidate], logits: Rows, task_macs: int, asked: Asked, frames: int
    ) -> None:
        self._candidates = candidates
        self._logits = logits
        self._task_macs = task_macs
        self._asked = asked
        self._frames = frames
        self._fits: dict[tuple[int, bytes], _Fitted] = {}

    def __call__(self, option: tuple[int, ...]) -> Plan | None:
        """What exits at these candidates save; None where one of them would never be taken."""
        asked, portion = self._asked.split(len(option)), self._frames // len(option)
        reach = np.ones(len(self._logits), bool)
        exits, saved = [], 0.0
        for number in option:
            if reach.sum() < LEAST_REACHING:
                return None
            candidate, share = self._candidates[number], float(reach.mean())
            fitted, testing = self._fitted(number, reach), round(portion * share)
            logits = self._logits[reach]
            planned, leave = _planned(candidate.place, fitted, asked, testing, portion, reach.copy(), logits)
            if planned.expected_rate == 0:
                return None
            behind = self._task_macs - candidate.place.macs
            saved += share * (planned.expected_rate * behind - planned.head.macs) / self._task_macs
            exits.append(planned)
            reach[np.flatnonzero(reach)[leave]] = False
        return Plan(tuple(exits), saved)

    def _fitted(self, number: int, reach: Bools) -> _Fitted:
        key = number, np.packbits(reach).tobytes()
        if key not in self._fits:
            candidate = self._candidates[number]
            self._fits[key] = _fitted(candidate.features[reach], self._logits[reach], candidate.grid)
        return self._fits[key]


def refitted(planned: Planned, features: Rows, asked: Asked, frames: int, every: int) -> Planned:
    """An exit with a head for other features of the same place.

    Args:
        planned: The exit.
        features: (n, features) of the frames that reach it.
        asked: The promise of this exit.
        frames: How many that reach it will test thresholds.
        every: With those that took an earlier exit.
    """
    fitted = _fitted(features, planned.logits, planned.head.grid)
    return _planned(planned.place, fitted, asked, frames, every, planned.reach, planned.logits)[0]


def _fitted(features: Rows, logits: Rows, grid: int) -> _Fitted:
    head, classes = fit_head(features, logits, grid), logits.argmax(axis=1)
    temperature = fit_temperature(head.predicted, classes)
    sure = {rule: surenesses(head.predicted, rule, temperature) for rule in RULES}
    return _Fitted(head, head.predicted.argmax(axis=1) == classes, temperature, sure)


def _planned(
    place: Place, fitted: _Fitted, asked: Asked, frames: int, every: int, reach: Bools, logits: Rows
) -> tuple[Planned, Bools]:
    """The exit by its best rule, and which of the frames that reach it leave."""
    sure_by = fitted.surenesses.items()
    # Sure answers that are wrong are too few to tell runs of them from chance; those of all frames are not.
    block = block_length(~fitted.agrees[None], _DEVIATIONS)
    tests = [max(1, count // block) for count in (frames, every)]
    rates = {rule: expected_rate(sure, fitted.agrees, asked, *tests) for rule, sure in sure_by}
    rule = max(rates, key=rates.__getitem__)
    sure, rate = fitted.surenesses[rule], rates[rule]
    leave = np.zeros(len(sure), bool)
    leave[np.argsort(-sure, kind="stable")[: round(rate * len(sure))]] = True
    return Planned(place, fitted.head, rule, fitted.temperature, sure, rate, reach, logits, block), leave
