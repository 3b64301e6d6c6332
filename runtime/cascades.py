"""Tasks that look at the boxes of other tasks: in which order they are asked, and of what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from multigraft.answers.crops import On, by_stage, crop, way_to_crops
from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.per_box import PerBox
from multigraft.answers.placement import Placement
from multigraft.bundle.manifest import Manifest
from multigraft.errors import BundleError
from multigraft.runtime.answers import Answer
from multigraft.tensors.preparation import Frame


@dataclass(frozen=True)
class Stage:
    """Tasks asked of the same crops.

    Attributes:
        on: Whose boxes, and how they are cut out.
        tasks: Their names.
    """

    on: On
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class StageTime:
    """What a stage took on one frame: ``crops`` looked at in ``us`` microseconds, ``late`` left out by the deadline."""

    stage: Stage
    crops: int
    late: int
    us: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        named = {"on": self.stage.on.task, "tasks": list(self.stage.tasks), "crops": self.crops}
        return {**named, **({"late": self.late} if self.late else {}), "us": round(self.us, 1)}


def staged(manifest: Manifest, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[Stage, ...]]:
    """The tasks that look at whole frames, those whose boxes others need among them, and the stages in running order.

    Raises:
        BundleError: The bundle has no such task.
    """

    def on_of(name: str) -> On | None:
        return manifest.task(name).on

    wanted: dict[str, None] = {}
    for name in names:
        wanted |= dict.fromkeys([*(on.task for on in way_to_crops(name, on_of)), name])
    stages = by_stage(wanted, on_of)
    return tuple(stages[None]), tuple(Stage(on, tuple(tasks)) for on, tasks in stages.items() if on is not None)


def crops_of(on: On, frame: Frame, found: Answer) -> tuple[tuple[int, ...], Callable[[int], tuple[Frame, Placement]]]:
    """The boxes that are looked at, and what cuts one of them out: what Engine and a collector do alike.

    Args:
        on: Which boxes, and how.
        frame: uint8, height x width or height x width x 3.
        found: What the task whose boxes they are says of the frame.

    Raises:
        BundleError: ``found`` holds no boxes.
    """
    if isinstance(found, PerBox) and not found.numbers:
        found = no_detections()
    if not isinstance(found, Detections):
        raise BundleError(f"task {on.task} finds no boxes for another task", "build the bundle again")
    boxes = found
    return tuple(on.numbers(boxes)), lambda number: crop(frame, boxes, number, on)
