"""Tasks that look at the boxes of other tasks: in which order they are asked, and of what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from multigraft.answers.crops import On, crop
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
    wanted: dict[str, None] = {}
    for name in names:
        chain = [name]
        while (on := manifest.task(chain[-1]).on) is not None:
            chain.append(on.task)
        wanted.update(dict.fromkeys(reversed(chain)))
    roots = tuple(name for name in wanted if manifest.task(name).on is None)
    stages: dict[On, list[str]] = {}
    ready = set(roots)
    waiting = [name for name in wanted if name not in ready]
    while waiting:
        level = [n for n in waiting if _on(manifest, n).task in ready]
        for name in level:
            stages.setdefault(_on(manifest, name), []).append(name)
        ready |= set(level)
        waiting = [n for n in waiting if n not in ready]
    return roots, tuple(Stage(on, tuple(tasks)) for on, tasks in stages.items())


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


def _on(manifest: Manifest, name: str) -> On:
    on = manifest.task(name).on
    assert on is not None
    return on
