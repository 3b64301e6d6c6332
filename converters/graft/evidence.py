"""The unlabeled frames that grafts are made, chosen and proved on, kept apart.

The best of many candidates looks better on the frames that chose it than it is: of 40 whose agreement lies just under
the budget, one passes a bound at 95 % in most builds. So candidates are chosen on one part of the held-out frames, and
what is promised is measured once, on a part that no choice has looked at.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import RELATIVE_ERROR, frame_scores, kept_answers, score_limit
from multigraft.agreement.betting import lower_bound_of_count
from multigraft.agreement.binomial import frames_needed
from multigraft.agreement.boxes import SCORE_THRESHOLD, Layout
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoded
from multigraft.answers.family import Decoded
from multigraft.bundle.manifest import Task
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.cut_frames import CutFrames
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings, TaskSettings
from multigraft.errors import ConfigurationError, InputError
from multigraft.tensors.preparation import Preparation, Rows, row_shape, take_same_frames

MAX_ACCEPT_FRAMES = 4096
HELD_OUT_SHARE = 3
LEAST_FIT_FRAMES = 64
"""A third of the frames is held out where that leaves so many for fitting: with the fewest that can show a budget, a
single answer that differs misses it."""

CHOICE_SHARE = 3
"""A third of the held-out frames chooses: its bound is the wider one, so that what it picks is mostly proved."""

LEAST_CHOICE_FRAMES = 16

LoadFrames = Callable[[Path, Rows | None], Frames]
"""Reads a folder, video or array file: pictures, or rows or sounds as they are given;
:func:`multigraft.devices.cameras.sources.open_source` behind it."""


@dataclass(frozen=True)
class Evidence:
    """The unlabeled frames of one target.

    Attributes:
        fit: The refit and the int8 ranges use them.
        accept: Every choice between candidates looks at these.
        prove: What is promised is measured on these, which no choice looks at; empty where nothing is promised.
        most_confidence: Confidence of bounds that choose: where few frames choose, the one that they can show.
    """

    fit: Frames
    accept: Frames
    _answers: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict, repr=False, compare=False)
    _decoded: dict[str, tuple[Decoded, ...] | None] = field(default_factory=dict, repr=False, compare=False)
    prove: Frames = ()
    most_confidence: float = 1.0

    @functools.cached_property
    def proof(self) -> Evidence:
        """The same with the frames of the proof held out, at any confidence."""
        return Evidence(self.fit, self.prove) if len(self.prove) else self

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


def own_frames(
    networks: Sequence[Network], tasks: Sequence[Task], evidence: Mapping[str, Evidence]
) -> dict[str, dict[str, Frames]]:
    """Task to its frames for fitting, by the input it reads: no choice looks at those that accept."""
    inputs = {n.name: n.input for n in networks}
    return {task.name: {inputs[task.donor or task.name]: evidence[task.name].fit} for task in tasks}


LEAST_JUDGED = 50
"""Held-out frames below which that their classes are one is no surprise."""

LEAST_FOUND = 0.02
"""Share of the frames on which a detector has to find something, or a classification to say something else than
mostly, for its agreement to say anything."""


def advice_on_answers(network: Network, evidence: Evidence, tolerance: float | None = None) -> list[str]:
    """What is to be said where answers cannot be compared by their meaning; mostly nothing.

    Args:
        network: As it came.
        evidence: Its frames.
        tolerance: That of its task, or None for the default of its kind.
    """
    if network.kind == "classification":
        return _advice_on_classes(network, evidence)
    if network.kind in ("regression", "landmarks", "other"):
        return _advice_on_numbers(network, evidence, tolerance)
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


def _advice_on_classes(network: Network, evidence: Evidence) -> list[str]:
    answers = evidence.answers(network)[0]
    if network.answer is not None or len(answers) < LEAST_JUDGED:
        return []
    values = answers.reshape(len(answers), -1)
    is_score = values.shape[1] == 1 and values.dtype.kind == "f"
    limit = score_limit(values)
    if values.dtype.kind != "f":
        # Numbers of classes, which the network has chosen itself.
        classes, said = np.unique(values[:, 0], return_inverse=True)
    else:
        classes, said = None, (values > limit)[:, 0] if is_score else values.argmax(axis=1)
    counts = np.bincount(said)
    others = len(answers) - int(counts.max())
    if others >= max(1, LEAST_FOUND * len(answers)):
        return []
    top = int(counts.argmax()) if classes is None else int(classes[counts.argmax()])
    # Of a network with several outputs the labels may be another output's.
    label = repr(network.labels[top]) if 0 <= top < len(network.labels) else f"class {top}"
    if is_score:
        label = f"a score {'above' if top else 'of at most'} {limit:g}"
    return [
        f"{network.name} answers {len(answers) - others} of {len(answers)} held-out frames with {label}, so agreement "
        "says next to nothing, a constant would agree as often: give frames of several classes"
    ]


def _advice_on_numbers(network: Network, evidence: Evidence, tolerance: float | None) -> list[str]:
    answers = evidence.answers(network)
    frames = len(answers[0])
    if network.answer is not None or frames < LEAST_JUDGED:
        return []
    if network.kind == "other" and sum(answer.size for answer in answers) == frames:
        size = np.abs(answers[0])
        small = int(np.count_nonzero(size < RELATIVE_ERROR * size.max()))
        if small >= max(1, LEAST_FOUND * frames):
            return [
                f"{network.name} gives one number, below a tenth of the largest on {small} of {frames} held-out frames,"
                " and other kinds are compared by their relative error, which hardly ever agrees near 0: say kind = "
                '"classification" where the number is a yes or no, or "regression"'
            ]
    constant = [np.broadcast_to(np.median(answer, axis=0), answer.shape).astype(answer.dtype) for answer in answers]
    scores, used, _, _ = frame_scores(network.kind, answers, constant, tolerance)
    others = int(np.count_nonzero(scores < 1))
    if others >= max(1, LEAST_FOUND * frames):
        return []
    return [
        f"the answers of {network.name} are alike on {frames - others} of {frames} held-out frames by its tolerance of "
        f"{used:g}, so agreement says next to nothing, a constant would agree as often: give frames on which they "
        "differ, or a smaller tolerance"
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
            source = f"task {task.on.task!r} finds boxes, and with them"
            evidence[task.name] = split(cut(task), settings, source, task.min_agreement)
            continue
        path = _path_of(settings, task)
        evidence[task.name] = split(loaded(path, task.preprocessing), settings, path, task.min_agreement)
    return evidence


def _path_of(settings: Settings, task: TaskSettings) -> Path:
    path = settings.frames_of(task)
    if path is None:
        raise ConfigurationError(
            f"{settings.path}: task {task.name!r} has no frames, and others have",
            "name unlabeled frames for every task, or statistics and no frames at all",
        )
    return path


def split(frames: Frames, settings: Settings, path: Path | str, least_agreement: float | None = None) -> Evidence:
    """The first frames fit, the next choose, the last prove; apart in time, since neighbours in a video are alike.

    Args:
        frames: All of one task.
        settings: They say how many fit, and what the others have to show.
        path: Where they come from.
        least_agreement: What this task has to show, where that is not what the budget asks of all.

    Raises:
        InputError: There are too few frames to show the agreement that the budget asks for.
    """
    asked = settings.budget.min_agreement if least_agreement is None else least_agreement
    needed = frames_needed(asked, settings.budget.confidence)
    least = max(LEAST_CHOICE_FRAMES, needed // 4)
    if len(frames) < needed + 2 * least:
        raise InputError(
            f"{path} holds {len(frames)} frames, and showing an agreement of {asked:g} at a confidence of "
            f"{settings.budget.confidence:g} takes {needed} held-out frames besides those for fitting and choosing",
            f"give at least {needed + 2 * least} frames (1,000 more are better) or lower the budget",
        )
    held_out = max(needed + least, min(len(frames) // HELD_OUT_SHARE, len(frames) - LEAST_FIT_FRAMES))
    fit = min(settings.graft.fit_frames, len(frames) - held_out)
    held_out = len(frames) - fit
    choice = min(max(least, min(held_out // CHOICE_SHARE, held_out - needed)), MAX_ACCEPT_FRAMES)
    return Evidence(
        frames[:fit],
        frames[fit : fit + choice],
        prove=frames[fit + choice : fit + choice + MAX_ACCEPT_FRAMES],
        # A little less: the bound of frames that all agree is not to miss the budget by rounding.
        most_confidence=1.0 if choice >= needed else 1 - asked**choice * (1 + 1e-9),
    )


def is_graded(network: Network, evidence: Evidence) -> bool:
    """Whether frames of that network can agree in part."""
    outputs = evidence.answers(network)
    if network.kind != "detection" or network.answer is not None:
        outputs = [output[:1] for output in outputs]  # Boxes alone are recognised by what all frames show.
    return not frame_scores(network.kind, outputs, outputs, None, network.answer, network.labels)[3]


def note_on_proof(evidence: Evidence, minimum: float, confidence: float, is_graded: bool) -> str:
    """What the frames are for, and what those of the proof have to show, before anything is done."""
    count = len(evidence.proof.accept)
    least = bisect.bisect_left(
        range(count), minimum, key=lambda right: lower_bound_of_count(right, count, confidence, is_graded)
    )
    share = f"{100 * least / count:.1f} %"
    enough = (
        f"an agreement of {share} on these is enough, and less where no frame differs wholly,"
        if is_graded and least < count
        else f"{share} of these have to agree"
    )
    return (
        f"{len(evidence.fit):,} frames fit, {len(evidence.accept):,} choose, and {count:,} that no choice looks at "
        f"prove: {enough} to show {minimum:g} at {100 * confidence:g} %"
    )


def notes_on_proof(settings: Settings, networks: Sequence[Network], evidence: Mapping[str, Evidence]) -> list[str]:
    """What every task's frames are for; tasks that have the same note share it."""
    notes: dict[str, list[str]] = {}
    for network in networks:
        if (own := evidence.get(network.name)) is not None:
            asked = settings.least_agreements[network.name], settings.budget.confidence
            notes.setdefault(note_on_proof(own, *asked, is_graded(network, own)), []).append(network.name)
    if len(notes) < 2:
        return list(notes)
    return [f"{' and '.join(tasks)}: {note}" for note, tasks in notes.items()]
