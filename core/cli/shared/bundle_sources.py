"""The sources of a bundle's frames: one for all tasks, or several where tasks take frames of several kinds."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.bundle.manifest import Manifest
    from multigraft.devices.cameras.camera import Camera
    from multigraft.tensors.preparation import Rows


def add_source_argument(parser: argparse.ArgumentParser, default: str = "") -> None:
    """Add ``--source``, once or once a task."""
    from multigraft.devices.cameras.source_help import HELP

    several = "TASK=FRAMES, repeated, gives tasks sources of their own"
    parser.add_argument(
        "--source",
        action="append",
        required=not default,
        metavar="[TASK=]FRAMES",
        help=f"{HELP}; {several}{default and f' (default: {default})'}",
    )


def rows_of(manifest: Manifest) -> Rows | None:
    """What one source has to give for all networks of a bundle; None for pictures.

    Raises:
        InputError: They take frames of several kinds.
    """
    from multigraft.tensors.preparation import shared_row_shape

    return shared_row_shape([source.preprocessing for source in manifest.inputs])


def example_source(rows: Rows | None) -> str:
    """A source to show in a command that is suggested."""
    if rows is None:
        return "camera"
    return "rows.npy" if isinstance(rows, tuple) else "sound.wav"


def open_bundle_source(
    texts: Sequence[str],
    manifest: Manifest,
    tasks: Sequence[str] | None = None,
    guard: Callable[[Camera], Camera] = lambda camera: camera,
) -> Camera:
    """The camera of a bundle's tasks; where sources are named for tasks, a frame is a mapping of task to frame.

    Args:
        texts: As :func:`bundle_cameras` takes them.
        manifest: In the same way.
        tasks: In the same way.
        guard: In the same way. Where it makes live cameras of all of several, frames come as they are taken, those of
            one camera at a time.

    Raises:
        BundleError: The bundle has no such task.
        InputError: A source is not there, or cannot serve the tasks it is for.
        UsageError: A task has two sources, or none.
    """
    from multigraft.devices.cameras.as_they_come import AsTheyCome
    from multigraft.devices.cameras.sources import dropped_frames

    cameras = _cameras(texts, manifest, tasks, guard)
    if () in cameras:
        return cameras[()]
    if all(dropped_frames(camera) is not None for camera in cameras.values()):
        return AsTheyCome(cameras)
    return _InStep(cameras, _share_inputs(manifest, cameras))


def bundle_cameras(
    texts: Sequence[str], manifest: Manifest, tasks: Sequence[str] | None = None
) -> dict[tuple[str, ...], Camera]:
    """Tasks to the camera that each is to read by itself; no tasks to one that gives all that is asked for.

    Several sources none of which is live are one, which gives a frame of each at a time, but for tasks that share an
    input: no two of these can be answered together.

    Args:
        texts: As typed: ``FRAMES`` once, or ``TASK=FRAMES`` for some tasks; one without a task serves the others.
        manifest: Of the bundle.
        tasks: Those to answer; None for all, or for all that have a source of their own where each names one.

    Raises:
        BundleError: The bundle has no such task.
        InputError: A source is not there, or cannot serve the tasks it is for.
        UsageError: A task has two sources, or none.
    """
    from multigraft.devices.file_sources import is_live

    cameras = _cameras(texts, manifest, tasks, lambda camera: camera)
    # Who asks one task of a frame has to know whose frame it is, where no frame is for all.
    is_apart = any(is_live(camera) for camera in cameras.values()) or _share_inputs(manifest, cameras)
    return cameras if () in cameras or is_apart else {(): _InStep(cameras, in_turn=False)}


def _cameras(
    texts: Sequence[str], manifest: Manifest, tasks: Sequence[str] | None, guard: Callable[[Camera], Camera]
) -> dict[tuple[str, ...], Camera]:
    from multigraft.devices.cameras.addresses import shown_address, source_of
    from multigraft.devices.cameras.sources import open_source
    from multigraft.tensors.preparation import shared_row_shape

    bases = {task.name: task.on.task for task in manifest.tasks if task.on is not None}
    names = {task.name for task in manifest.tasks}
    own: dict[str, str] = {}
    shared: list[str] = []
    for text in texts:
        task, separator, source = text.partition("=")
        if not separator or task not in names:
            shared.append(source_of(text))
        elif task in own:
            raise UsageError(f"task {task} has two sources", "give one")
        elif task in bases:
            raise UsageError(
                f"task {task} looks at what {bases[task]} finds, and has no source of its own",
                f"give one to {bases[task]}",
            )
        else:
            own[task] = source_of(source)
    if len(shared) > 1:
        named = " and ".join(map(shown_address, shared))
        raise UsageError(f"two sources for all tasks: {named}", "give one, or write TASK=FRAMES")

    def root(task: str) -> str:
        while task in bases:
            task = bases[task]
        return task

    asked = list(tasks) if tasks is not None else [t.name for t in manifest.tasks if shared or root(t.name) in own]
    if own:
        # Boxes are found on the frame that they are looked at on.
        asked = list(dict.fromkeys([*map(root, asked), *asked]))
    others = [task for task in asked if root(task) not in own]
    if others and not shared:
        raise UsageError(f"task {others[0]} has no source", "give one with --source")

    def camera_for(text: str, served: Sequence[str]) -> Camera:
        inputs = [source.preprocessing for task in served for source in manifest.inputs_of(task)]
        return guard(open_source(text, shared_row_shape(inputs), smallest_frame(manifest, served)))

    if not own:
        return {(): camera_for(shared[0], others)}
    cameras: dict[tuple[str, ...], Camera] = {}
    for task in (t for t in asked if root(t) in own and not any(t in served for served in cameras)):
        text = own[root(task)]
        served = tuple(t for t in asked if own.get(root(t)) == text and _take_same(manifest, t, task))
        cameras[served] = camera_for(text, served)
    if others:
        cameras[tuple(others)] = camera_for(shared[0], others)
    return cameras


def smallest_frame(manifest: Manifest, tasks: Sequence[str]) -> tuple[int, int] | None:
    """Height and width of pictures that have all the pixels that tasks take; None where more may be of use.

    That is where boxes are cut out of the frame, or where no pictures are taken.
    """
    from multigraft.tensors.preprocessing import Preprocessing

    inputs = [source.preprocessing for task in tasks for source in manifest.inputs_of(task)]
    if any(task.on is not None for task in manifest.tasks) or not all(isinstance(i, Preprocessing) for i in inputs):
        return None
    sizes = [(i.height, i.width) for i in inputs if isinstance(i, Preprocessing)]
    return (max(height for height, _ in sizes), max(width for _, width in sizes)) if sizes else None


def _take_same(manifest: Manifest, a: str, b: str) -> bool:
    from multigraft.tensors.preparation import take_same_frames

    inputs = [source.preprocessing for task in (a, b) for source in manifest.inputs_of(task)]
    return all(take_same_frames(inputs[0], other) for other in inputs)


def _share_inputs(manifest: Manifest, cameras: Iterable[tuple[str, ...]]) -> bool:
    """Whether tasks of two cameras read one input, which holds one frame at a time."""
    read = [{source.tensor for task in tasks for source in manifest.inputs_of(task)} for tasks in cameras]
    return sum(map(len, read)) > len(set().union(*read))


class _InStep:
    """Camera adapter: several sources in step, until the first ends; frames by task.

    Args:
        cameras: Tasks to their camera.
        in_turn: Each gives a frame of its own after the other, as no two can be answered together.
    """

    def __init__(self, cameras: Mapping[tuple[str, ...], Camera], in_turn: bool) -> None:
        self._cameras, self._in_turn = cameras, in_turn
        self._open = contextlib.ExitStack()

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Those there are."""
        return tuple(self._cameras.values())

    @property
    def name(self) -> str:
        return "; ".join(f"{','.join(tasks)}: {camera.name}" for tasks, camera in self._cameras.items())

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for camera in self._cameras.values():
                stack.enter_context(camera)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[Any]:
        for frames in zip(*self._cameras.values(), strict=False):
            by_task = [dict.fromkeys(tasks, frame) for tasks, frame in zip(self._cameras, frames, strict=True)]
            if self._in_turn:
                yield from by_task
            else:
                yield {task: frame for one in by_task for task, frame in one.items()}
