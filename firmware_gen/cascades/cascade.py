"""What a bundle with tasks on boxes becomes in firmware: one frame, what is asked of it, and what of its boxes.

The frame is a picture of the size of the first detector's input, unless another size is asked for. Every network that
looks at pictures gets its input from it, so that nothing but the frame has to be given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.answers.crops import On, by_stage, way_to_crops
from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest
from multigraft.errors import ConfigurationError
from multigraft.firmware_gen.cascades.finder import Finder, finder_of
from multigraft.firmware_gen.program.program import Program
from multigraft.tensors.preparation import preparer_for
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec

MOST_SIDE = 4096
"""Pixels of a side of the frame and of an input, so that 32 bits hold what resizing computes."""
MOST_MARGIN = 16.0
MOST_CROPS = 1024
MOST_US = 2**31
"""Of a deadline: the device's clock has 32 bits."""


@dataclass(frozen=True)
class View:
    """A network input made of a part of the frame.

    Attributes:
        tensor: The input.
        preprocessing: How pixels become it.
        margin: Around boxes, as a share of them.
        stored: int8, channels x 256: what is stored for each pixel value.
        padding: What is stored beside the picture, a number for each channel.
    """

    tensor: str
    preprocessing: Preprocessing
    margin: float
    stored: npt.NDArray[np.int8]
    padding: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Tasks asked of the same parts of the frame.

    Attributes:
        on: Whose boxes; None for the whole frame.
        tasks: Their numbers, in the order of the manifest.
        views: What their networks see.
    """

    on: On | None
    tasks: tuple[int, ...]
    views: tuple[View, ...]

    @property
    def mask(self) -> int:
        """Bits of the tasks."""
        return sum(1 << number for number in self.tasks)


@dataclass(frozen=True)
class Cascade:
    """What is asked of a frame.

    Attributes:
        manifest: Of the bundle.
        height: Rows of the frame.
        width: Columns of the frame.
        channels: 3 (RGB), or 1 where all networks look at grey pictures.
        stages: In running order, the one of whole frames first.
        finders: Task number to what finds its boxes, for tasks at whose boxes others look.
    """

    manifest: Manifest
    height: int
    width: int
    channels: int
    stages: tuple[Stage, ...]
    finders: Mapping[int, Finder]

    @property
    def views(self) -> tuple[View, ...]:
        """All network inputs that are made of the frame."""
        return tuple(view for stage in self.stages for view in stage.views)

    def number(self, task: str) -> int:
        """The bit of a task."""
        return [t.name for t in self.manifest.tasks].index(task)

    def seen_by(self, task: int) -> View:
        """The input of a detector in whose pixels its boxes are: its first."""
        first = self.manifest.inputs_of(self.manifest.tasks[task].name)[0].tensor
        return next(view for view in self.views if view.tensor == first)

    def needed(self, stage: Stage) -> int:
        """Bits of the tasks whose boxes a stage needs, of all before it."""
        way = way_to_crops(self.manifest.tasks[stage.tasks[0]].name, lambda name: self.manifest.task(name).on)
        return sum(1 << self.number(on.task) for on in way)

    def most_boxes(self, task: int) -> int:
        """Boxes that a task has on one frame at most."""
        on = self.manifest.tasks[task].on
        return self.finders[task].most * (1 if on is None else on.top)


def cascade_of(bundle: Bundle, program: Program, frame: tuple[int, int] | None = None) -> Cascade | None:
    """The cascade of a bundle; None where no task looks at boxes.

    Args:
        bundle: The bundle.
        program: What was loaded from it.
        frame: Height and width of the frame; None for those of the first detector's input.

    Raises:
        ConfigurationError: It can't be done in firmware; the message names the task.
    """
    manifest = bundle.manifest
    inner = [task for task in manifest.tasks if task.on is not None]
    if not inner:
        return None
    for task in inner:
        _check(task.name, task.on)
    if program.variables:
        raise ConfigurationError(
            f"task {inner[0].name!r} looks at boxes and networks of the bundle keep variables between frames",
            "build one bundle for each",
        )
    stages = tuple(
        Stage(on, tuple(map([t.name for t in manifest.tasks].index, names)), _views(manifest, names, on))
        for on, names in by_stage([t.name for t in manifest.tasks], lambda name: manifest.task(name).on).items()
    )
    _check_apart(program, stages)
    targets = list(dict.fromkeys(t.on.task for t in inner if t.on is not None))
    finders = {
        number: finder_of(task, [manifest.tensor(name) for name in task.outputs])
        for number, task in enumerate(manifest.tasks)
        if task.name in targets
    }
    for name in targets:
        sources = manifest.inputs_of(name)
        if not sources or not isinstance(sources[0].preprocessing, Preprocessing):
            raise ConfigurationError(
                f"task {name!r}, whose boxes another looks at, takes no pictures", "give it pictures, or build again"
            )
    first = next(t for t in targets if manifest.task(t).on is None)
    whole = _views(manifest, (first,), None)[0].preprocessing
    height, width = frame or (whole.height, whole.width)
    if not (0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE):
        raise ConfigurationError(f"the frame is {height} x {width} pixels", f"choose sides from 1 to {MOST_SIDE}")
    is_grey = all(view.preprocessing.channels == 1 for stage in stages for view in stage.views)
    return Cascade(manifest, height, width, 1 if is_grey else 3, stages, finders)


def _check(name: str, on: On | None) -> None:
    assert on is not None
    if on.level:
        raise ConfigurationError(
            f"task {name!r} wants its crops turned by keypoints, which firmware does not do", "leave out on.level"
        )
    if on.deadline_us is not None and not 0 <= on.deadline_us <= MOST_US:
        raise ConfigurationError(
            f"task {name!r} has a deadline of {on.deadline_us:g} us", f"choose one from 0 to {MOST_US}, or none"
        )
    if not 0 <= on.margin <= MOST_MARGIN or not 1 <= on.top <= MOST_CROPS or not math.isfinite(on.margin):
        raise ConfigurationError(
            f"task {name!r} looks at {on.top} boxes with a margin of {on.margin:g}",
            f"choose a margin from 0 to {MOST_MARGIN:g} and a top from 1 to {MOST_CROPS}",
        )


def _views(manifest: Manifest, names: Sequence[str], on: On | None) -> tuple[View, ...]:
    views = {}
    for name in names:
        for source in manifest.inputs_of(name):
            spec, preparation = manifest.tensor(source.tensor), source.preprocessing
            if isinstance(preparation, Preprocessing):
                views[source.tensor] = view_of(name, preparation, spec, on.margin if on is not None else 0.0)
            elif on is not None:
                raise ConfigurationError(
                    f"task {name!r} looks at boxes and takes no pictures", "leave out its on, or give it pictures"
                )
    return tuple(views.values())


def view_of(task: str, preparation: Preprocessing, spec: TensorSpec, margin: float) -> View:
    """What a network sees of a part of the frame.

    Args:
        task: For messages.
        preparation: How pixels become its input.
        spec: The input.
        margin: Around boxes, as a share of them.

    Raises:
        ConfigurationError: The input is not int8 or too large.
    """
    if spec.dtype != "int8":
        raise ConfigurationError(
            f"input {spec.name!r} of task {task!r} is {spec.dtype}, not int8", 'build with precision = "int8"'
        )
    if max(preparation.height, preparation.width) > MOST_SIDE:
        raise ConfigurationError(f"input {spec.name!r} has a side of more than {MOST_SIDE} pixels", "choose a smaller")
    preparer_for(preparation, spec)
    ramp = Preprocessing(1, 256, preparation.color, preparation.mean, preparation.scale)
    pixels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(preparation.channels, axis=2)
    shape = (1, 1, 256, preparation.channels)
    stored = np.empty(shape, np.int8)
    row = TensorSpec(spec.name, shape, "int8", spec.scale, spec.zero_point)
    preparer_for(ramp, row).fill(pixels[:, :, 0] if preparation.channels == 1 else pixels, stored)
    blank = Preprocessing(3, 1, preparation.color, preparation.mean, preparation.scale, "fit", pad=preparation.pad)
    padded = np.empty((1, 3, 1, preparation.channels), np.int8)
    row = TensorSpec(spec.name, padded.shape, "int8", spec.scale, spec.zero_point)
    preparer_for(blank, row).fill(np.zeros((1, 1), np.uint8), padded)
    return View(spec.name, preparation, margin, stored[0, 0].T.copy(), tuple(padded[0, 0, 0].tolist()))


def _check_apart(program: Program, stages: Sequence[Stage]) -> None:
    for step in program.steps:
        if sum((step.tasks & stage.mask) != 0 for stage in stages) > 1:
            raise ConfigurationError(
                f"{step.node.place} serves whole frames and crops, or crops of different boxes",
                "build the bundle again",
            )
