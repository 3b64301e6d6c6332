"""What the networks of a taps bundle look at: whole frames, or the crops that one of them finds in the frames.

Every frame that is used serves one view alone, drawn by its number. Sums of two views therefore never share a frame,
and nothing of a few frames is left when what one view saw is subtracted from what another one saw: not even where two
views show the same pixels, as all boxes and the boxes of one class do, to networks that begin with the same layers.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from multigraft.answers.crops import On, way_to_crops
from multigraft.bundle.manifest import Manifest
from multigraft.runtime.cascades import crops_of
from multigraft.runtime.engine import Engine
from multigraft.tensors.preparation import Frame

SUFFIX = ".mgstats"


@dataclass(frozen=True)
class View:
    """What some of the networks look at.

    Attributes:
        crops: Through whose boxes; empty for whole frames.
        tasks: Their tasks.
        name: Tells its files from those of other views; empty for whole frames.
    """

    crops: tuple[On, ...]
    tasks: tuple[str, ...]
    name: str = ""

    def output(self, whole: Path) -> Path:
        """The statistics file, beside the one of whole frames: ``site-7.face.mgstats`` beside ``site-7.mgstats``."""
        return whole if not self.name else whole.with_name(f"{whole.name.removesuffix(SUFFIX)}.{self.name}{SUFFIX}")


def views_of(manifest: Manifest) -> tuple[View, ...]:
    """The views of a bundle; that of whole frames first."""
    tasks: dict[tuple[On, ...], list[str]] = {(): []}
    for task in manifest.tasks:
        way = way_to_crops(task.name, lambda name: manifest.task(name).on)
        tasks.setdefault(way, []).append(task.name)
    views: list[View] = []
    for crops, members in tasks.items():
        name = plain = re.sub(r"[^A-Za-z0-9_-]", "_", crops[-1].task) if crops else ""
        number = 1
        while any(view.name == name for view in views):
            number += 1
            name = f"{plain}-{number}"
        views.append(View(crops, tuple(members), name))
    return tuple(views)


def turn(number: int, views: int) -> int:
    """Which of so many views a frame serves, at random but always the same.

    Args:
        number: Of the frame in its source.
        views: How many there are.
    """
    return zlib.crc32(number.to_bytes(8, "little")) % views


class Cutter:
    """Cuts out what a view looks at, as Engine does when it answers.

    Args:
        engine: Of the taps bundle.
        view: One of crops.
        most: Crops of a frame at most; of more, the surest. None for as many as the view looks at.
    """

    def __init__(self, engine: Engine, view: View, most: int | None = None) -> None:
        self._engine, self._on, self._most = engine, view.crops[-1], most
        self._asked = (self._on.task,)

    def crops(self, frame: Frame) -> list[Frame]:
        """Those of a frame, the surest first; none where nothing was found.

        Raises:
            BundleError: The task whose boxes they are finds none by its kind.
            InputError: The frame is not of the kind, dtype or shape that the networks take.
        """
        found = self._engine.run(frame, self._asked).answers[self._on.task]
        numbers, cut = crops_of(self._on, frame, found)
        return [cut(number)[0] for number in numbers[: self._most]]
