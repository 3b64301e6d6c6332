"""Which frame goes to which network input, where a bundle's tasks take frames of several kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from multigraft.bundle.manifest import Manifest
from multigraft.errors import InputError
from multigraft.tensors.preparation import Frame, blank_frame, take_same_frames


def frames_of_inputs(manifest: Manifest, frames: Mapping[str, Frame], tasks: Iterable[str]) -> dict[str, Frame]:
    """Network input to its frame.

    Args:
        manifest: Of the bundle.
        frames: Task to its frame.
        tasks: Those to answer.

    Raises:
        BundleError: The bundle has no such task.
        InputError: A task has no frame, or two that read one input have different ones.
    """
    found: dict[str, Frame] = {}
    for task in tasks:
        for source in manifest.inputs_of(task):
            if task not in frames:
                raise InputError(f"task {task} has no frame", "give one for every task that is asked for")
            if found.setdefault(source.tensor, frames[task]) is not frames[task]:
                raise InputError(
                    f"task {task} shares its input with another task, whose frame is another", "answer them in turn"
                )
    return found


def blank_frames(manifest: Manifest) -> Frame | dict[str, Frame]:
    """A frame for all tasks, grey or zeros; task to frame where no frame can serve all."""
    first = manifest.inputs[0].preprocessing
    if all(take_same_frames(first, source.preprocessing) for source in manifest.inputs):
        return blank_frame(first)
    by_input = {source.tensor: blank_frame(source.preprocessing) for source in manifest.inputs}
    return {task.name: by_input[manifest.inputs_of(task.name)[0].tensor] for task in manifest.tasks}


def frame_of(task: str, frame: Frame | Mapping[str, Frame], bases: Mapping[str, str]) -> Frame:
    """The frame that a task was asked of; of one that looks at boxes, the frame of those.

    Args:
        task: Its name.
        frame: What the engine was given.
        bases: Task that looks at boxes to the task that finds them.
    """
    if not isinstance(frame, Mapping):
        return frame
    while task not in frame:
        task = bases[task]
    return frame[task]
