"""What a task sees that looks at boxes: crops of the frames in which another network finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.crops import crop
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoded
from multigraft.answers.own_format import OwnFormat
from multigraft.answers.per_box import gathered
from multigraft.answers.placement import Placement
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frame, Frames
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings, TaskSettings
from multigraft.errors import ConfigurationError
from multigraft.tensors.preprocessing import Preprocessing

MOST_CROPS = 4096
"""More sharpen nothing; they are spread over the frames."""

_CHUNK = 32


class CutFrames:
    """Crops by task, cut once for tasks of the same crops.

    Args:
        settings: All tasks.
        networks: All networks, in the same order.
        frames_of: Whole frames of a task.
        report: Takes a line per detector that is run.
    """

    def __init__(
        self,
        settings: Settings,
        networks: Sequence[Network],
        frames_of: Callable[[TaskSettings], Frames],
        report: Report = silent,
    ) -> None:
        self._tasks = {task.name: task for task in settings.tasks}
        self._networks = {network.name: network for network in networks}
        self._frames_of = frames_of
        self._report = report
        self._found: dict[str, list[tuple[int, Detections]]] = {}
        self._cut: list[tuple[object, Frames]] = []

    def __call__(self, task: TaskSettings) -> Frames:
        """What the task sees of the frames of the task whose boxes it looks at.

        Raises:
            ConfigurationError: That task finds no boxes, by its format.
        """
        on = self._networks[task.name].on
        assert on is not None
        for known, crops in self._cut:
            if known == on:
                return crops
        frames = self._whole(on.task)
        crops = [
            np.ascontiguousarray(crop(frames[place], found, number, on)[0])
            for place, found in self._detections(on.task)
            for number in on.numbers(found)
        ]
        if len(crops) > MOST_CROPS:
            crops = [crops[i] for i in np.linspace(0, len(crops) - 1, MOST_CROPS).astype(int)]
        self._cut.append((on, crops))
        return crops

    def _whole(self, name: str) -> Frames:
        """The whole frames in which a task's boxes lie."""
        while (above := self._tasks[name].on) is not None and self._tasks[name].frames is None:
            name = above.task
        return self._frames_of(self._tasks[name])

    def _detections(self, name: str) -> list[tuple[int, Detections]]:
        """Number of the frame and what the task found on it, in pixels of the frame."""
        if name not in self._found:
            self._report(f"look for what {name} finds, to cut it out")
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> list[tuple[int, Detections]]:
        network, task = self._networks[name], self._tasks[name]
        frames = self._whole(name)
        views: list[tuple[int, Frame, Placement | None]]
        if task.on is None or task.frames is not None:
            views = [(place, frames[place], None) for place in range(len(frames))]
        else:
            on = network.on
            assert on is not None
            views = [
                (place, *crop(frames[place], found, number, on))
                for place, found in self._detections(on.task)
                for number in on.numbers(found)
            ]
        seen = []
        for start in range(0, len(views), _CHUNK):
            part = views[start : start + _CHUNK]
            for (place, _, outer), found in zip(
                part, detections_of(network, [view for _, view, _ in part]), strict=True
            ):
                seen.append((place, found if outer is None else found.placed(outer)))
        return [(place, _together(name, [found for _, found in of])) for place, of in groupby(seen, lambda one: one[0])]


def _together(task: str, found: list[Detections]) -> Detections:
    """All that was found on one frame, of which a task may look at the surest few: as Engine has it."""
    whole = found[0] if len(found) == 1 else gathered(task, range(len(found)), found)
    assert isinstance(whole, Detections)
    return whole


def detections_of(network: Network, frames: Frames) -> list[Detections]:
    """What a detector finds on frames, in their pixels.

    Raises:
        ConfigurationError: Its answers are no boxes.
    """
    if network.answer is None or not isinstance(network.preprocessing, Preprocessing):
        raise ConfigurationError(
            f"task {network.name!r} finds no boxes that another task could look at",
            "name the format of its answers with [task.answer] (docs/answers.md)",
        )
    outputs = network.run(network.prepare(frames))
    answers = decoded(network.answer, network.labels, [outputs[o] for o in network.outputs])
    found = []
    for answer, frame in zip(answers, frames, strict=True):
        if not isinstance(answer, Detections):
            raise ConfigurationError(
                f"task {network.name!r} answers with no boxes that another task could look at",
                "name a task that finds boxes",
            )
        found.append(answer.placed(Placement.of_frame(network.preprocessing, frame.shape)))
    return found


def answer_on_device(network: Network) -> AnswerFormat | None:
    """How a device that collects reads the boxes of a network; it runs no function of the user.

    Raises:
        ConfigurationError: A function decodes the network's answers.
    """
    if isinstance(network.answer, OwnFormat):
        raise ConfigurationError(
            f"task {network.name!r} is decoded by a function, which a device that collects does not run",
            "leave out the tasks that look at its boxes, or name a format of [task.answer]",
        )
    return network.answer
