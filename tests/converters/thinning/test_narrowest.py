"""In a few rounds each task of a tree is taken to what it may lose, and none beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from multigraft.converters.thinning.narrowest import Losses, narrowest
from multigraft.converters.thinning.survey import Survey, survey
from tests.converters.graft.networks import frames
from tests.converters.thinning.test_thin import two_tasks

TASKS = ("first", "second")


@dataclass(frozen=True)
class Made:
    """Of so many channels of each group."""

    widths: tuple[int, ...]
    bounds: dict[str, float]
    weights: int
    macs: int


@pytest.fixture(scope="module")
def found() -> Survey:
    return survey(two_tasks(), frames(120, seed=1), outputs=[1, 1])


def search(found: Survey, slopes: Sequence[float], losses: Sequence[Losses]) -> tuple[Made | None, list[Made]]:
    """Answers that differ are ``slopes`` times the root of the squared error, beside what differs already."""
    rounds: list[Made] = []

    def made(widths: Sequence[int], how_far: str) -> Made | None:
        if list(widths) == [g.count for g in found.groups]:
            return None
        lost = np.sqrt(found.lost(widths)) * slopes
        bounds = {one.task: 1 - one.already - float(part) for one, part in zip(losses, lost, strict=True)}
        rounds.append(Made(tuple(widths), bounds, sum(widths), sum(widths)))
        return rounds[-1]

    return narrowest(found, losses, made), rounds


@pytest.mark.parametrize("slopes", [(0.3, 0.3), (0.01, 2.0), (2.0, 0.02), (0.1, 0.0)])
def test_the_cheapest_round_that_every_task_can_bear_is_taken(found: Survey, slopes: tuple[float, float]) -> None:
    losses = [Losses("first", 0.05, 0.01), Losses("second", 0.1, 0.02)]
    best, rounds = search(found, slopes, losses)
    assert best is not None
    kept = [one for one in rounds if all(task.keeps(one.bounds[task.task]) for task in losses)]
    assert best.macs == min(one.macs for one in kept)
    assert all(1 - best.bounds[task.task] < task.most for task in losses), "something is left for int8"
    spent = [(1 - best.bounds[task.task] - task.already) / task.room for task in losses]
    beyond = [one for one in rounds if one not in kept and sum(best.widths) - sum(one.widths) == 1]
    assert max(spent) > 0.5 or beyond, "one task has little left to lose, or one channel less was too much"


def test_a_task_without_room_keeps_every_channel(found: Survey) -> None:
    best, rounds = search(found, (0.3, 0.3), [Losses("first", 0.05, 0.05), Losses("second", 0.5, 0.0)])
    assert best is None and not rounds
