"""What looking at boxes costs, by their number; the boxes are made up, since a network may find none on the frames."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.runtime.benchmark import Distribution
from multigraft.runtime.cascades import Stage, staged
from multigraft.runtime.engine import Engine
from multigraft.tensors.preparation import Frame

_now = time.perf_counter_ns


@dataclass(frozen=True)
class CropTiming:
    """Microseconds of one stage on one frame.

    Attributes:
        on: The task whose boxes are looked at.
        tasks: What is asked of each.
        crops: Number of boxes to what they took together.
    """

    on: str
    tasks: tuple[str, ...]
    crops: dict[int, Distribution]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        crops = {str(count): dataclasses.asdict(taken) for count, taken in self.crops.items()}
        return {"on": self.on, "tasks": list(self.tasks), "crops": crops}


def measure_crops(
    engine: Engine, frame: Frame, tasks: Sequence[str] | None, runs: int, warmup: int
) -> list[CropTiming]:
    """Each stage with no box, one box, and as many as it looks at; without deadlines.

    Args:
        engine: Of a bundle; one without stages gives nothing.
        frame: uint8, height x width or height x width x 3.
        tasks: Those asked for; None for all.
        runs: Measured for each number of boxes.
        warmup: Runs before them.
    """
    names = tasks or [task.name for task in engine.manifest.tasks]
    found = []
    for stage in staged(engine.manifest, names)[1]:
        free = Stage(dataclasses.replace(stage.on, deadline_us=None, labels=()), stage.tasks)
        crops = {count: _timed(engine, free, frame, count, runs, warmup) for count in sorted({0, 1, stage.on.top})}
        found.append(CropTiming(stage.on.task, stage.tasks, crops))
    return found


def _timed(engine: Engine, stage: Stage, frame: Frame, count: int, runs: int, warmup: int) -> Distribution:
    boxes = made_up_boxes(frame, count)
    taken = []
    for number in range(warmup + runs):
        start = _now()
        engine.ask_boxes(stage, frame, boxes, start, exits=False)
        if number >= warmup:
            taken.append((_now() - start) / 1000)
    return Distribution.of(taken)


def made_up_boxes(frame: Frame, count: int) -> Detections:
    """Squares of half the frame's height, in a row."""
    height, width = frame.shape[:2]
    side = height / 2
    left = np.linspace(0, max(width - side, 0), count, dtype=np.float32)
    boxes = np.stack([left, np.full_like(left, side / 2), left + side, np.full_like(left, 1.5 * side)], axis=1)
    return Detections(boxes.astype(np.float32), np.ones(count, np.float32), np.zeros(count, np.int32))
