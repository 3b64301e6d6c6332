"""Whose energy it is: what each task pays of segments that several share.

A segment runs once for all tasks that need it. Its energy split equally among those that used it in that frame is the
Shapley value of the game in which a group of tasks costs what its segments draw together: each segment is a game of its
own, in which all its users are alike and all others pay nothing (Littlechild and Owen, Management Science 20, 1973).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

Split = Literal["shapley", "marginal", "by-use"]
SPLITS: tuple[Split, ...] = get_args(Split)

SHARED = "shared"
"""Under ``marginal``: what no task would save by being left out alone."""


def attribute(
    costs_j: Mapping[str, float],
    users: Mapping[str, Collection[str]],
    frames: Sequence[Collection[str]],
    split: Split = "shapley",
) -> dict[str, float]:
    """Joules per frame and task.

    Args:
        costs_j: Segment, or another part of a frame, to what one run of it draws.
        users: The same to the tasks that need it; a part that nobody is named for is everybody's.
        frames: The tasks asked for in each frame; a pattern that repeats may stand here once.
        split: ``shapley`` splits a run equally among those that used it in that frame. ``marginal`` gives a task what
            would be saved without it; the rest stands under :data:`SHARED`. ``by-use`` splits all runs of a segment by
            how often each task used it.

    Returns:
        Task to joules per frame, in the order in which tasks are first asked for. Their sum is the energy of a frame.
    """
    tasks = list(dict.fromkeys(task for frame in frames for task in frame))
    paid = dict.fromkeys(tasks, 0.0)
    shared = 0.0
    for part, cost in costs_j.items():
        runs = [_users_in(frame, users.get(part, ())) for frame in frames]
        uses = {task: sum(task in run for run in runs) for task in tasks}
        drawn = cost * sum(1 for run in runs if run)
        if split == "by-use":
            total = sum(uses.values())
            for task, count in uses.items():
                paid[task] += drawn * count / total if total else 0.0
            continue
        for run in filter(None, runs):
            if split == "shapley":
                for task in run:
                    paid[task] += cost / len(run)
            elif len(run) == 1:
                paid[run[0]] += cost
            else:
                shared += cost
    if split == "marginal":
        paid[SHARED] = shared
    return {task: energy / len(frames) for task, energy in paid.items()}


def _users_in(frame: Collection[str], users: Collection[str]) -> list[str]:
    return [task for task in frame if not users or task in users]
