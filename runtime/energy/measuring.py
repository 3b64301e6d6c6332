"""What a bundle draws: a frame, each part of it, and each task's share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigraft.bundle.manifest import Manifest
from multigraft.devices.power.curve import Curve
from multigraft.devices.power.power import PowerMeter
from multigraft.devices.power.rails import Accuracy, Rail
from multigraft.devices.thermal import ThrottlingWatch
from multigraft.errors import UsageError
from multigraft.runtime.benchmark import Frames
from multigraft.runtime.energy.attribution import Split, attribute
from multigraft.runtime.energy.figure import Figure
from multigraft.runtime.energy.windows import Bench
from multigraft.runtime.engine import Engine
from multigraft.runtime.parts import Part, parts_of

LONGEST_PATTERN = 60
"""Frames until tasks of different rates come together again."""

FRAME_SHARE = 0.4
"""Of the time, for the whole frame; the parts get the rest."""

BETWEEN = "between parts"


@dataclass(frozen=True)
class Share:
    """What a task pays: joules per frame, and the most they may be off."""

    energy_j: float
    bound_j: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"energy_j": self.energy_j, "bound_j": self.bound_j}


@dataclass(frozen=True)
class Measured:
    """All figures of one run.

    Attributes:
        meter: The sensor.
        rails: Those that were added up.
        tree: All of the sensor's rails.
        accuracy: Of their sum.
        frame: Joules of a frame, idle power subtracted.
        error: Relative, as asked for.
        idle_w: Watts at rest.
        parts: Part of a frame to joules of one run of it; empty where the time did not suffice.
        uses: Part to how often it runs in a frame.
        between_j: What a frame draws beside its parts.
        tasks: Task to its share; empty where there are no parts.
        split: By which rule.
        seconds_needed: About how long a measurement with parts takes.
        was_throttled: Whether the processor was slowed down or the supply was too weak meanwhile: figures are invalid
            then. None where the system does not tell.
        curve: Of the last minutes.
        spans: Beginning and end of each window, and whether it was one at work.
    """

    meter: str
    rails: tuple[str, ...]
    tree: tuple[Rail, ...]
    accuracy: Accuracy
    frame: Figure
    error: float
    idle_w: float
    parts: dict[Part, Figure]
    uses: dict[Part, float]
    between_j: float
    tasks: dict[str, Share]
    split: Split
    seconds_needed: float
    was_throttled: bool | None
    curve: Curve = field(repr=False)
    spans: Sequence[tuple[float, float, bool]] = field(repr=False)

    @property
    def is_valid(self) -> bool:
        """Nothing slowed the processor down, as far as the system tells."""
        return not self.was_throttled

    @property
    def is_reached(self) -> bool:
        """The frame's bound is as narrow as was asked for."""
        return self.frame.relative <= self.error * 1.005

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "meter": self.meter,
            "counted_rails": list(self.rails),
            "rails": [rail.to_json() for rail in self.tree],
            "accuracy": self.accuracy.to_json(),
            "is_valid": self.is_valid,
            "was_throttled": self.was_throttled,
            "asked_error": self.error,
            "is_reached": self.is_reached,
            "idle_w": self.idle_w,
            "frame": self.frame.to_json(),
            "parts": [
                {"kind": part.kind, "of": part.of, "runs_per_frame": self.uses[part], **figure.to_json()}
                for part, figure in self.parts.items()
            ],
            "between_parts_j": self.between_j,
            "split": self.split,
            "tasks": {task: share.to_json() for task, share in self.tasks.items()},
        }


def pattern_of(tasks: Sequence[str], every: Mapping[str, int]) -> list[tuple[str, ...]]:
    """The tasks of each frame, until the pattern comes round.

    Args:
        tasks: All.
        every: Task to the number of frames of which it is asked in one; 1 where it is not named.

    Raises:
        UsageError: A number is below 1, a task is not there, or the pattern is too long.
    """
    for task, number in every.items():
        if task not in tasks or number < 1:
            raise UsageError(f"{task}={number}", f"name a task ({', '.join(tasks)}) and 1 or more")
    length = math.lcm(*(every.get(task, 1) for task in tasks))
    if length > LONGEST_PATTERN:
        raise UsageError(f"these rates come together every {length} frames", "choose numbers that divide each other")
    return [tuple(task for task in tasks if number % every.get(task, 1) == 0) for number in range(length)]


def users_of(part: Part, manifest: Manifest, tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks that can't be answered without this part; one that looks at boxes needs what finds them."""
    if part.kind == "boxes":
        asked = set(part.of.split(","))
        return tuple(task for task in tasks if asked & set(_chain(manifest, task)))
    found = []
    for task in tasks:
        root = _chain(manifest, task)[-1]
        reads = {source.tensor for source in manifest.inputs_of(root)}
        needed = {"preprocessing": reads, "segment": set(manifest.task(root).all_segments), "answering": {root}}
        if part.of in needed[part.kind]:
            found.append(task)
    return tuple(found)


def _chain(manifest: Manifest, task: str) -> list[str]:
    """The task, and those whose boxes it looks at, up to the one that looks at whole frames."""
    chain = [task]
    while (on := manifest.task(chain[-1]).on) is not None:
        chain.append(on.task)
    return chain


def measure_bundle(
    engine: Engine,
    frames: Frames,
    tasks: Sequence[str],
    meter: PowerMeter,
    *,
    error: float = 0.03,
    seconds: float = 120.0,
    every: Mapping[str, int] | None = None,
    split: Split = "shapley",
    single: bool = False,
    watch: ThrottlingWatch | None = None,
    bench_of: Callable[[PowerMeter], Bench] = Bench,
) -> Measured:
    """Measure a frame and its parts, one after the other.

    Args:
        engine: Of a bundle.
        frames: Taken in turn.
        tasks: Those to answer.
        meter: Not entered.
        error: Relative, to be reached for the frame at 95 % confidence.
        seconds: About how long it may take.
        every: Task to the number of frames of which it is asked in one.
        split: Who pays for what is shared.
        single: Each window holds one inference.
        watch: Whether the processor is slowed down.
        bench_of: Makes what measures.

    Raises:
        DeviceError: The meter stopped answering.
        InputError: A single inference is too short for the meter.
        UsageError: There are no frames, or ``every`` can't be kept.
    """
    if not frames:
        raise UsageError("there are no frames to measure on", "give at least one")
    watch = watch or ThrottlingWatch()
    pattern = pattern_of(tasks, every or {})
    with meter:
        bench = bench_of(meter)
        whole = bench.measure(
            _in_turn(engine, frames, pattern), error, seconds * (1.0 if single else FRAME_SHARE), single
        )
        frame = whole.scaled(1 / len(pattern))
        parts: dict[Part, Callable[[], Any]] = {} if single else parts_of(engine, frames[0], tuple(tasks))
        users = {part: users_of(part, engine.manifest, tasks) for part in parts}
        uses = {part: sum(1 for asked in pattern if set(asked) & set(users[part])) / len(pattern) for part in parts}
        left = seconds * (1 - FRAME_SHARE) / max(len(parts), 1)
        pilot_s = bench.pilot_s
        figures = (
            {part: bench.measure(load, error, left) for part, load in parts.items()} if left >= pilot_s * 0.8 else {}
        )
        idle_w = bench.rest_w
        curve = meter.curve()
    between_j = frame.value_j - sum(uses[part] * figure.value_j for part, figure in figures.items())
    return Measured(
        meter.name,
        meter.rails,
        meter.tree,
        meter.accuracy,
        frame,
        error,
        idle_w,
        figures,
        uses,
        between_j,
        shares(frame, figures, uses, users, pattern, split) if figures else {},
        split,
        pilot_s * len(parts) / (1 - FRAME_SHARE),
        watch.was_throttled(),
        curve,
        bench.spans,
    )


def shares(
    frame: Figure,
    parts: Mapping[Part, Figure],
    uses: Mapping[Part, float],
    users: Mapping[Part, Sequence[str]],
    pattern: Sequence[Sequence[str]],
    split: Split,
) -> dict[str, Share]:
    """Each task's joules per frame; what lies between the parts is everybody's. Bounds of all figures add up.

    Args:
        frame: Of the whole.
        parts: Of one run each.
        uses: Runs of each in a frame.
        users: The tasks that need each.
        pattern: The tasks of each frame.
        split: Who pays for what is shared.
    """
    busy = sum(1 for asked in pattern if asked) / len(pattern)
    names = [*map(str, parts), BETWEEN]
    everyone = {**{str(part): users[part] for part in parts}, BETWEEN: ()}
    columns = []
    for name in names:
        costs = dict.fromkeys(names, 0.0)
        costs[name] = 1.0
        columns.append(attribute(costs, everyone, pattern, split))
    between_j = (frame.value_j - sum(uses[part] * figure.value_j for part, figure in parts.items())) / busy
    found = {}
    for task in columns[0]:
        of_between = columns[-1][task] / busy
        weights = [column[task] for column in columns[:-1]]
        energy_j = columns[-1][task] * between_j
        bound_j = of_between * frame.bound_j
        for weight, (part, figure) in zip(weights, parts.items(), strict=True):
            energy_j += weight * figure.value_j
            bound_j += abs(weight - of_between * uses[part]) * figure.bound_j
        found[task] = Share(energy_j, bound_j)
    return found


def _in_turn(engine: Engine, frames: Frames, pattern: Sequence[tuple[str, ...]]) -> Callable[[], None]:
    """Runs all frames of a pattern."""
    number = 0

    def load() -> None:
        nonlocal number
        for asked in pattern:
            if asked:
                engine.run(frames[number % len(frames)], asked)
            number += 1

    return load
