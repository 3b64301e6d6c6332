"""Rounds of a real engine, as admission takes them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from multigraft.runtime.cascades import Stage
from multigraft.runtime.crop_timing import made_up_boxes
from multigraft.runtime.engine import Engine
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.turns import Turn
from multigraft.tensors.preparation import Frame

ROUNDS = 300
"""299 are the fewest whose largest value is the 99th percentile at least, with 95 % confidence."""
FEWEST = 20
SECONDS = 10.0
WARMUP = 5
BETWEEN = "between"
"""What a frame takes besides its parts: until it is there, and the steps from one part to the next."""
Shown = Frame | Mapping[str, Frame]
LONGEST_REST_S = 0.02
"""Between rounds: in service caches are cold and other processes have had the processor when a frame comes."""


def measure_times(
    engine: Engine,
    take: Callable[[], Shown],
    tasks: Sequence[str],
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    each: Callable[[], bool] = lambda: False,
    rest_s: float = LONGEST_REST_S,
    now: Callable[[], int] = time.perf_counter_ns,
) -> Times:
    """What the parts of a frame take.

    Each round asks all tasks of one frame, as the service does, without early exits, which a frame may not take. Tasks
    that look at boxes are given as many as they look at, since none may be found on these frames.

    Args:
        engine: Nothing else may use it meanwhile.
        take: Gives the frame of a round; what that takes counts, once a frame.
        tasks: Those to answer.
        rounds: The most.
        seconds: After these no further round is begun, but for the first :data:`FEWEST`.
        each: Is called before every round; True ends it.
        rest_s: Between rounds, at most; no longer than the round took.
        now: Nanoseconds, by which all is timed.
    """
    parts = {task: [BETWEEN, *_parts(engine, take(), task)] for task in tasks}
    seen: dict[str, list[float]] = {part: [] for names in parts.values() for part in names}
    end = time.monotonic() + seconds
    for number in range(-WARMUP, rounds):
        if each() or (number >= FEWEST and time.monotonic() > end):
            break
        begin = now()
        taken = _round(engine, take(), tasks, now)
        took = (now() - begin) / 1e9
        taken[BETWEEN] = max(0.0, took * 1e6 - sum(taken.values()))
        for part, values in seen.items():
            if number >= 0:
                values.append(taken[part] / 1e6)
        time.sleep(min(rest_s, took))
    return Times(parts, seen)


def _parts(engine: Engine, frame: Shown, task: str) -> list[str]:
    on = engine.manifest.task(task).on
    if on is not None:
        return [*_parts(engine, frame, on.task), f"boxes {task}"]
    turn = Turn(engine, frame, exits=False)
    turn.ask(task)
    return list(turn.times_us)


def _round(engine: Engine, frame: Shown, tasks: Sequence[str], now: Callable[[], int]) -> dict[str, float]:
    turn = Turn(engine, frame, now, exits=False)
    taken: dict[str, float] = {}
    for task in _with_roots(engine, tasks):
        on = engine.manifest.task(task).on
        if on is None:
            turn.ask(task)
            continue
        picture = turn.picture(task)
        free = Stage(dataclasses.replace(on, deadline_us=None, labels=()), (task,))
        begin = now()
        engine.ask_boxes(free, picture, made_up_boxes(picture, on.top), time.perf_counter_ns(), exits=False)
        taken[f"boxes {task}"] = (now() - begin) / 1e3
    return {**turn.times_us, **taken}


def _with_roots(engine: Engine, tasks: Sequence[str]) -> list[str]:
    """These tasks, each behind the one whose boxes it looks at."""
    found: dict[str, None] = {}
    for task in tasks:
        chain, on = [task], engine.manifest.task(task).on
        while on is not None:
            chain.append(on.task)
            on = engine.manifest.task(on.task).on
        found |= dict.fromkeys(reversed(chain))
    return list(found)
