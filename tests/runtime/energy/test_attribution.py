"""Who pays for what: against Shapley values by all orders of tasks, and that nothing is lost."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Mapping

import pytest

from multigraft.cli import energy
from multigraft.runtime.energy.attribution import SHARED, SPLITS, attribute


def shapley(
    costs: Mapping[str, float], users: Mapping[str, Collection[str]], frame: Collection[str]
) -> dict[str, float]:
    """By definition: the mean over all orders of what a task adds to those before it."""

    def worth(group: Collection[str]) -> float:
        return sum(cost for part, cost in costs.items() if set(users[part]) & set(group))

    paid = dict.fromkeys(frame, 0.0)
    for order in itertools.permutations(frame):
        for place, task in enumerate(order):
            paid[task] += worth(order[: place + 1]) - worth(order[:place])
    return {task: total / math.factorial(len(frame)) for task, total in paid.items()}


def random_tree(chance: random.Random) -> tuple[dict[str, float], dict[str, set[str]], list[str]]:
    """A trunk that branches: each segment is used by all tasks behind it."""
    tasks = [f"task{i}" for i in range(chance.randint(1, 6))]
    costs: dict[str, float] = {}
    users: dict[str, set[str]] = {}

    def grow(group: list[str]) -> None:
        name = f"segment{len(costs)}"
        costs[name], users[name] = chance.uniform(0, 5), set(group)
        if len(group) > 1:
            cut = chance.randint(1, len(group) - 1)
            grow(group[:cut])
            grow(group[cut:])

    grow(tasks)
    return costs, users, tasks


@pytest.mark.parametrize("seed", range(20))
def test_equal_parts_of_each_segment_are_the_shapley_value(seed: int) -> None:
    chance = random.Random(seed)
    costs, users, tasks = random_tree(chance)
    frames = [[task for task in tasks if chance.random() < 0.7] or tasks[:1] for _ in range(4)]
    by_definition = [shapley(costs, users, frame) for frame in frames]
    found = attribute(costs, users, frames)
    for task, energy_j in found.items():
        assert energy_j == pytest.approx(sum(paid.get(task, 0.0) for paid in by_definition) / len(frames))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("split", SPLITS)
def test_every_rule_hands_out_all_that_was_drawn(split: str, seed: int) -> None:
    chance = random.Random(seed)
    costs, users, tasks = random_tree(chance)
    frames = [[task for task in tasks if chance.random() < 0.7] or tasks[:1] for _ in range(5)]
    drawn = sum(cost for frame in frames for part, cost in costs.items() if set(users[part]) & set(frame))
    found = attribute(costs, users, frames, split)  # type: ignore[arg-type]
    assert sum(found.values()) == pytest.approx(drawn / len(frames))


COSTS = {"trunk": 6.0, "head_a": 1.0, "head_b": 2.0}
USERS = {"trunk": ("a", "b"), "head_a": ("a",), "head_b": ("b",)}


def test_marginal_tells_what_leaving_a_task_out_saves() -> None:
    assert attribute(COSTS, USERS, [("a", "b")], "marginal") == {"a": 1.0, "b": 2.0, SHARED: 6.0}


def test_a_task_that_is_asked_seldom_pays_for_the_trunk_in_those_frames_alone() -> None:
    frames = [("a", "b"), ("a",), ("a",), ("a",)]
    assert attribute(COSTS, USERS, frames) == pytest.approx({"a": (3 + 18) / 4 + 1, "b": 3 / 4 + 2 / 4})
    # By use: four fifths of all runs of the trunk are a's.
    by_use = attribute(COSTS, USERS, frames, "by-use")
    assert by_use == pytest.approx({"a": 24 / 4 * 4 / 5 + 1, "b": 24 / 4 / 5 + 2 / 4})


def test_what_belongs_to_nobody_is_everybodys() -> None:
    assert attribute({"loop": 4.0}, {}, [("a", "b"), ("a",), ()]) == pytest.approx({"a": 6 / 3, "b": 2 / 3})


def test_the_command_offers_all_of_them() -> None:
    assert energy.SPLITS == SPLITS
