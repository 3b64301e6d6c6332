"""Agreement of a bundle with the original networks, measured on the device: same frames, same interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Task
from multigraft.calibration.defaults import VALIDATED_FRAMES
from multigraft.calibration.views import Cutter, View, views_of
from multigraft.devices.cameras.camera import Camera
from multigraft.errors import InputError, UsageError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import frames_of_inputs
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.joining import joined_outputs
from multigraft.tensors.preparation import Frame, preparer_for

SCHEMA = 1

OnFrame = Callable[[int, int], None]
"""Called with the frames done and wanted."""


@dataclass(frozen=True)
class Validation:
    """How often a bundle answers as the original networks.

    Attributes:
        tasks: Task to its agreement with the original.
        frames: Frames that both answered.
        bundle: Name of the bundle, and SHA-256 of its model.
        original: The same of the taps bundle.
        interpreter: The interpreter that ran both.
        source: Where the frames came from.
    """

    tasks: Mapping[str, Agreement]
    frames: int
    bundle: Mapping[str, str]
    original: Mapping[str, str]
    interpreter: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "frames": self.frames,
            "source": self.source,
            "interpreter": self.interpreter,
            "bundle": dict(self.bundle),
            "original": dict(self.original),
            "tasks": [{"name": name, **shown.to_json()} for name, shown in self.tasks.items()],
        }


class Answers:
    """Raw outputs of a bundle, frame by frame, as real numbers."""

    def __init__(self, bundle: Bundle, threads: int = 1, backend: BackendName = "auto") -> None:
        self.engine = Engine(bundle, threads, backend)
        manifest = bundle.manifest
        self._inputs = []
        for source in manifest.inputs:
            spec = manifest.tensor(source.tensor)
            array = np.empty(spec.shape, spec.dtype)
            self._inputs.append((source.tensor, preparer_for(source.preprocessing, spec), array))

    def __call__(self, frame: Frame | Mapping[str, Frame], tasks: Sequence[str]) -> dict[str, list[Array]]:
        """Task to its outputs (without the batch axis), in the order of the original network.

        Args:
            frame: One for all tasks, or task to frame.
            tasks: Those to answer.
        """
        manifest = self.engine.manifest
        read = {source.tensor for task in tasks for source in manifest.inputs_of(task)}
        frames = frames_of_inputs(manifest, frame, tasks) if isinstance(frame, Mapping) else dict.fromkeys(read, frame)
        for name, preparer, array in self._inputs:
            if name in read:
                preparer.fill(frames[name], array)
        written = self.engine.compute({name: array for name, _, array in self._inputs}, tasks)
        return {
            task.name: [output[0] for output in self._outputs(task, written)]
            for task in manifest.tasks
            if task.name in tasks
        }

    def _outputs(self, task: Task, written: Mapping[str, Array]) -> list[Float32Array]:
        specs = [self.engine.manifest.tensor(name) for name in task.outputs]
        return joined_outputs(task.joined, specs, [written[name] for name in task.outputs])


class _Look:
    """What some tasks are compared on.

    Args:
        engine: Of the originals.
        view: What the tasks look at.
        tasks: Some of them.
    """

    def __init__(self, engine: Engine, view: View, tasks: list[str]) -> None:
        self._view, self.tasks = view, tasks
        self._cutter = Cutter(engine, view) if view.crops else None

    def __call__(self, frame: Frame | Mapping[str, Frame], number: int) -> Frame | Mapping[str, Frame] | None:
        """The frame, or one of the crops in turn; None where there is none."""
        if self._cutter is None:
            return frame
        crops = self._cutter.crops(frame[self._view.crops[0].task] if isinstance(frame, Mapping) else frame)
        return crops[number % len(crops)] if crops else None


def validate(
    bundle: Bundle,
    original: Bundle,
    camera: Camera,
    *,
    frames: int = VALIDATED_FRAMES,
    confidence: float = 0.95,
    tolerances: Mapping[str, float] | None = None,
    threads: int = 1,
    backend: BackendName = "auto",
    on_frame: OnFrame = lambda done, total: None,
) -> Validation:
    """Run both on the same frames and compare each task's outputs.

    Tasks that look at crops get those that the original network finds, both the same, and one of each frame: several of
    a frame are no independent samples.

    Args:
        bundle: The grafted one.
        original: From ``multigraft calibrate prepare``.
        camera: Not yet opened.
        frames: How many at most; a source that ends may give fewer.
        confidence: How sure the bounds are, between 0 and 1.
        tolerances: Task to its tolerance; see :func:`multigraft.agreement.agreement.agreement`.
        threads: Threads for the kernels.
        backend: Which interpreter.
        on_frame: Called after every frame.

    Raises:
        UsageError: The bundles have no task in common, a task has outputs of other shapes, there is no frame, or no
            crop for a task that looks at some.
        InputError: A frame cannot be used.
    """
    if frames < 1:
        raise UsageError(f"{frames} frames were asked for", "give at least 1")
    new, old = Answers(bundle, threads, backend), Answers(original, threads, backend)
    kinds = {t.name: t.kind for t in original.manifest.tasks}
    tasks = [t.name for t in bundle.manifest.tasks if t.name in kinds]
    if not tasks:
        have = ", ".join(kinds)
        raise UsageError(f"{bundle.manifest.name} answers none of the original tasks ({have})", "give its own taps")
    views = [(view, [t for t in tasks if t in view.tasks]) for view in views_of(original.manifest)]
    looks = [_Look(old.engine, view, known) for view, known in views if known]
    rows: dict[str, tuple[list[list[Array]], list[list[Array]]]] = {name: ([], []) for name in tasks}
    count = 0
    with camera:
        for frame in itertools.islice(camera, frames):
            for look in looks:
                if (shown := look(frame, count)) is None:
                    continue
                before, after = old(shown, look.tasks), new(shown, look.tasks)
                for name in look.tasks:
                    rows[name][0].append(before[name])
                    rows[name][1].append(after[name])
            count += 1
            on_frame(count, frames)
    if not count:
        raise UsageError(f"{camera.name} gave no frame", "give a source that holds some")
    agreements = {}
    for name in tasks:
        if not rows[name][0]:
            raise UsageError(
                f"in {count} frames of {camera.name} nothing was found for {name} to look at",
                "give a source that holds what it looks at",
            )
        stacked = [[np.stack(arrays) for arrays in zip(*side, strict=True)] for side in rows[name]]
        try:
            agreements[name] = agreement(
                kinds[name], *stacked, confidence=confidence, tolerance=(tolerances or {}).get(name)
            )
        except InputError as error:
            raise InputError(f"task {name}: {error.problem}", error.remedy) from error
    return Validation(agreements, count, _named(bundle), _named(original), str(new.engine.model.backend), camera.name)


def _named(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.manifest.name, "model_sha256": bundle.manifest.files["model.tflite"].sha256}
