"""The unlabeled frames that grafts are made and judged on, kept apart: no choice looks at those that accept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from multigraft.agreement.agreement import RELATIVE_ERROR, kept_answers
from multigraft.agreement.boxes import SCORE_THRESHOLD, Layout
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoded
from multigraft.answers.family import Decoded
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.cut_frames import CutFrames
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings, TaskSettings
from multigraft.errors import ConfigurationError, InputError
from multigraft.tensors.preparation import Preparation, Rows, row_shape, take_same_frames

MAX_ACCEPT_FRAMES = 4096
HELD_OUT_SHARE = 4
LEAST_FIT_FRAMES = 64
"""A quarter of the frames is held out where that leaves so many for fitting: with the fewest that can show a budget, a
single answer that differs misses it."""

LoadFrames = Callable[[Path, Rows | None], Frames]
"""Reads a folder, video or array file: pictures, or rows or sounds as they are given;
:func:`multigraft.devices.cameras.sources.open_source` behind it."""


@dataclass(frozen=True)
class Evidence:
    """The unlabeled frames of one target: the refit uses ``fit``, acceptance uses ``accept``."""

    fit: Frames
    accept: Frames
    _answers: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict, repr=False, compare=False)
    _decoded: dict[str, tuple[Decoded, ...] | None] = field(default_factory=dict, repr=False, compare=False)

    def answers(self, target: Network) -> list[npt.NDArray[Any]]:
        """The original outputs on the held-out frames, computed once."""
        if target.name not in self._answers:
            outputs = target.run(target.prepare(self.accept))
            self._answers[target.name] = [outputs[o] for o in target.outputs]
        return self._answers[target.name]

    def decoded(self, target: Network) -> tuple[Decoded, ...] | None:
        """What they say, decoded once; None where that is not kept, see :func:`kept_answers`."""
        if target.name not in self._decoded:
            self._decoded[target.name] = kept_answers(target.answer, target.labels, self.answers(target))
        return self._decoded[target.name]


LEAST_FOUND = 0.02
"""Share of the frames on which a detector has to find something for its agreement to say anything."""


def advice_on_answers(network: Network, evidence: Evidence) -> list[str]:
    """What is to be said where answers cannot be compared by their meaning; mostly nothing."""
    if network.kind != "detection":
        return []
    outputs = evidence.answers(network)
    if network.answer is not None:
        answers: Iterable[Decoded] | None = evidence.decoded(network)
        if answers is None:
            answers = decoded(network.answer, network.labels, outputs)
        frames = len(outputs[0])
        # Answers of other kinds, such as maps, are never empty.
        found = sum(not isinstance(answer, Detections) or len(answer) > 0 for answer in answers)
        if found >= max(1, LEAST_FOUND * frames):
            return []
        return [
            f"{network.name} finds something on {found} of {frames} held-out frames, so their agreement says "
            "next to nothing: give frames that hold what it finds"
        ]
    if Layout.find(outputs) is not None:
        return []
    return [
        f"{network.name} shows no boxes as corners with scores of {SCORE_THRESHOLD:g} to 1 on these frames, so its "
        f"outputs are compared as numbers, each within {RELATIVE_ERROR:g} of its size: give frames that hold what it "
        'finds, export it with its boxes decoded, or say kind = "other" and a tolerance'
    ]


class LoadedFrames:
    """Opens every source once, so that tasks of one source have the same frames.

    Args:
        load_frames: Reads a source.
    """

    def __init__(self, load_frames: LoadFrames) -> None:
        self._load = load_frames
        self._loaded: list[tuple[Path, Preparation, Frames]] = []

    def __call__(self, path: Path, preparation: Preparation) -> Frames:
        """The frames of a source, for a task that takes what ``preparation`` says."""
        for known, other, frames in self._loaded:
            if known == path and take_same_frames(other, preparation):
                return frames
        self._loaded.append((path, preparation, self._load(path, row_shape(preparation))))
        return self._loaded[-1][2]


def load_evidence(
    settings: Settings, load_frames: LoadFrames, networks: Sequence[Network] = (), report: Report = silent
) -> dict[str, Evidence]:
    """Task to its frames; nothing where the settings give statistics and no frames at all.

    A task that looks at boxes and has no frames of its own gets what it will see: crops of the frames of the task
    whose boxes they are, as ``networks`` find them.

    Raises:
        ConfigurationError: Some tasks have frames and others have none.
        InputError: As :func:`split`.
    """
    if settings.statistics and not any(settings.frames_of(task) for task in settings.tasks):
        return {}
    loaded = LoadedFrames(load_frames)
    evidence = {}
    cut = CutFrames(settings, networks, lambda task: loaded(_path_of(settings, task), task.preprocessing), report)
    for task in settings.tasks:
        if task.on is not None and task.frames is None:
            evidence[task.name] = split(cut(task), settings, f"task {task.on.task!r} finds boxes, and with them")
            continue
        path = _path_of(settings, task)
        evidence[task.name] = split(loaded(path, task.preprocessing), settings, path)
    return evidence


def _path_of(settings: Settings, task: TaskSettings) -> Path:
    path = settings.frames_of(task)
    if path is None:
        raise ConfigurationError(
            f"{settings.path}: task {task.name!r} has no frames, and others have",
            "name unlabeled frames for every task, or statistics and no frames at all",
        )
    return path


def split(frames: Frames, settings: Settings, path: Path | str) -> Evidence:
    """The first frames fit, the rest accept; they are kept apart in time, since neighbours in a video are alike.

    Raises:
        InputError: There are too few frames to show the agreement that the budget asks for.
    """
    needed = settings.frames_needed
    held_out = max(needed, min(len(frames) // HELD_OUT_SHARE, len(frames) - LEAST_FIT_FRAMES))
    fit = min(settings.graft.fit_frames, len(frames) - held_out)
    if fit < needed // 4 or fit < 16:
        raise InputError(
            f"{path} holds {len(frames)} frames, and showing an agreement of {settings.budget.min_agreement:g} at a "
            f"confidence of {settings.budget.confidence:g} takes {needed} held-out frames besides those for fitting",
            f"give at least {needed + max(16, needed // 4)} frames (512 more are better) or lower the budget",
        )
    return Evidence(frames[:fit], frames[fit : fit + MAX_ACCEPT_FRAMES])
