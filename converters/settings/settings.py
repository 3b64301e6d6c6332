"""``multigraft.toml``: which networks, which frames, which budgets.

The dataclasses below are the whole table of settings: they are read, checked and documented (``docs/settings.md``,
written by ``python -m multigraft.converters.settings.settings_docs``) from the same fields. Paths are relative to the
file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from multigraft.agreement.binomial import frames_needed
from multigraft.answers.kind import KINDS, Kind
from multigraft.converters.job.effort import EffortLevel
from multigraft.converters.settings.answer_settings import AnswerSettings
from multigraft.converters.settings.cascade_settings import CascadeSettings
from multigraft.converters.settings.convert_settings import ConvertSettings
from multigraft.converters.settings.exit_settings import ExitSettings
from multigraft.converters.settings.foreign_formats import foreign_format
from multigraft.converters.settings.gate_settings import GateSettings
from multigraft.converters.settings.label_reader import LABELS
from multigraft.converters.settings.offload_settings import OffloadSettings
from multigraft.converters.settings.preparation_settings import PREPARATION
from multigraft.converters.settings.thin_shares import THIN, ThinShares, check_names
from multigraft.converters.settings.toml_reader import (
    Place,
    Reader,
    choice,
    file,
    integer,
    key,
    mapping,
    nearest,
    number,
    one_or_several,
    read_file,
    several,
    table,
    text,
)
from multigraft.converters.urls import is_url
from multigraft.errors import ConfigurationError
from multigraft.own_code import is_function
from multigraft.tensors.preparation import Preparation

Refine = Literal["none", "distill"]
Prefer = Literal["weights", "macs", "latency"]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mjpeg", ".mpg")
ARRAY_SUFFIXES = (".npy", ".npz")
SOUND_SUFFIXES = (".wav", ".wave")
MODEL_SUFFIXES = (".onnx", ".pt2", ".tflite")
TOLERANCE_KINDS: tuple[Kind, ...] = ("regression", "landmarks", "detection", "other")

_IDENTIFIER = text(r"[A-Za-z][A-Za-z0-9_]{0,47}", "a name of letters, digits and _ that starts with a letter")


def _read_frames(value: Any, place: Place) -> Path:
    """A path that exists; ``FILE.npz:ARRAY`` keeps its array's name."""
    if isinstance(value, str) and (match := re.fullmatch(r"(.+\.npz):(\w+)", value, re.IGNORECASE)):
        return Path(f"{_FRAMES_FILE.read(match[1], place)}:{match[2]}")
    path: Path = _FRAMES_FILE.read(value, place)
    return path


def _read_model(value: Any, place: Place) -> str:
    if isinstance(value, str) and is_function(value):
        return value
    if isinstance(value, str) and (foreign := foreign_format(place.file.parent / value)):
        place.fail(f"names {value!r}, which {foreign[0]}", foreign[1])
    return str(_MODEL_FILE.read(value, place))


_FRAMES_FILE = file(
    "a folder of images, .npy or .wav files, a video file, a .npy, .npz or .wav file that exists (FILE.npz:ARRAY where "
    "it holds several)",
    VIDEO_SUFFIXES + ARRAY_SUFFIXES + SOUND_SUFFIXES,
    folder=True,
)
_FRAMES = Reader(_FRAMES_FILE.expects, _read_frames)
_STATISTICS_FILE = file("a .mgstats file that exists, or the address of one", (".mgstats",))


def _read_statistics(value: Any, place: Place) -> Path | str:
    """A path that exists, or an address, which is looked at when it is read."""
    read: Path | str = value if is_url(value) else _STATISTICS_FILE.read(value, place)
    return read


_STATISTICS = Reader(_STATISTICS_FILE.expects, _read_statistics)
_MODEL_FILE = file("an .onnx or .tflite file, a .pt2 exported program or module:factory", MODEL_SUFFIXES)
_AGREEMENT = number(lambda v: 0 < v < 1, "a number above 0 and below 1 (no finite number of frames shows 1)")
_MODEL = Reader(_MODEL_FILE.expects, _read_model)


@dataclass(frozen=True)
class TaskSettings:
    """One network and the question it answers."""

    name: str = key("Name of the task; its segment is head_NAME.", _IDENTIFIER)
    model: str = key("The trained network; module:factory returns a torch.nn.Module.", _MODEL)
    kind: Kind = key("What the outputs mean; agreement is measured accordingly.", choice(*KINDS))
    preprocessing: Preparation = key("What the network expects of a frame.", PREPARATION)
    state: Path | None = key(
        "State dict of a module:factory model (torch.save).", file("a file that exists"), default=None
    )
    constants: Mapping[str, float] = key(
        "Inputs of the network beside the frame that are the same for every frame (a sampling rate, an empty state), "
        "and the value of all of their elements.",
        mapping(number(lambda v: True, "a number"), "a table of INPUT = NUMBER"),
        default_factory=dict,
    )
    answer: AnswerSettings | None = key(
        "How the outputs are to be read; without it those of a detection are recognised, and others are read by kind.",
        table(AnswerSettings),
        default=None,
    )
    on: CascadeSettings | None = key(
        "The task looks at the boxes of another one in place of whole frames; its frames, if named, are such crops.",
        table(CascadeSettings),
        default=None,
    )
    gate: GateSettings | None = key(
        "Where the task is not run to the end: nothing is new, or all is unknown; see docs/exits.md.",
        table(GateSettings),
        default=None,
    )
    labels: tuple[str, ...] = key("Names of the answers, in the order of the outputs.", LABELS, default=())
    frames: Path | None = key(
        "Unlabeled frames for this task alone; else those of the whole file.", _FRAMES, default=None
    )
    tolerance: float | None = key(
        "Largest difference that counts as agreement, in units of the output (detection: smallest box overlap, IoU; "
        "other: relative to the size of the output).",
        number(lambda v: v > 0, "a number above 0"),
        default=None,
    )
    min_agreement: float | None = key(
        "Agreement that this task has to show; else that of [budget].", _AGREEMENT, default=None
    )
    labelled: Path | None = key(
        "Frames with their labels for multigraft study: arrays frames and labels.",
        file("an .npz file that exists", (".npz",)),
        default=None,
    )

    @property
    def is_factory(self) -> bool:
        """Whether ``model`` is ``module:factory`` rather than a file."""
        return is_function(self.model)


@dataclass(frozen=True)
class BundleSettings:
    """The artifact."""

    name: str = key(
        "Name of the bundle.",
        text(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of letters, digits, _, . and -"),
        default="multigraft",
    )


@dataclass(frozen=True)
class Budget:
    """What the bundle may cost and has to keep: it chooses the plan, and what is written is measured against it."""

    min_agreement: float = key(
        "Agreement with the original network that has to be shown on held-out frames, as a lower bound, per task.",
        _AGREEMENT,
        default=0.95,
    )
    confidence: float = key(
        "Confidence of that bound (one-sided; exact binomial, or by betting where frames agree in part).",
        number(lambda v: 0.5 <= v < 1, "a number of at least 0.5 and below 1"),
        default=0.95,
    )
    max_weights_bytes: int | None = key(
        "Largest sum of all segments' weights, bytes.", integer(1, "a whole number above 0"), default=None
    )
    max_macs: int | None = key(
        "Largest number of multiply-accumulates for all tasks on one frame.",
        integer(1, "a whole number above 0"),
        default=None,
    )
    max_latency_us: float | None = key(
        "Longest time for all tasks on one frame on this machine (median, one thread, no preprocessing), microseconds.",
        number(lambda v: v > 0, "a number above 0"),
        default=None,
    )
    prefer: Prefer = key(
        "What is to be small where several plans keep the budget: weights, macs, or latency on this machine.",
        choice(*get_args(Prefer)),
        default="weights",
    )


@dataclass(frozen=True)
class GraftSettings:
    """How the networks are grafted."""

    refine: Refine = key(
        "Label-free refinement after the closed-form refit; distill needs multigraft[torch].",
        choice(*get_args(Refine)),
        default="none",
    )
    seed: int = key("Seed of every random choice.", integer(0, "a whole number of at least 0"), default=0)
    fit_frames: int = key(
        "Most frames the refit uses; the others, a third at least of many, choose and prove.",
        integer(1, "a whole number above 0"),
        default=512,
    )
    share: Mapping[str, str] = key(
        'Task to the trunk layer it shares up to, or "none" for no sharing, instead of the automatic choice.',
        mapping(text(), 'a table of TASK = "LAYER"'),
        default_factory=dict,
    )
    thin: ThinShares = key(
        'What may be left of each network\'s weights (with prefer = "macs" or "latency": of its MACs); auto: the '
        "least that keeps min_agreement; a table TASK = SHARE for each task on its own (of the own part, where the "
        "trunk keeps its channels).",
        THIN,
        default_factory=ThinShares,
    )
    effort: EffortLevel = key(
        "How long the search of large networks may take: low, medium or high; see docs/thinning.md.",
        choice(*get_args(EffortLevel)),
        default="medium",
    )


@dataclass(frozen=True)
class Settings:
    """All of multigraft.toml.

    Attributes:
        path: The file itself, absolute.
        trusts_code: The user has agreed to models that run code when they are opened. No key of the file, which may
            be what is hostile.
    """

    path: Path
    tasks: tuple[TaskSettings, ...] = key(
        "One per network.", several(table(TaskSettings), "one [[task]] table per network"), name="task"
    )
    frames: Path | None = key("Unlabeled frames for all tasks.", _FRAMES, default=None)
    statistics: tuple[Path | str, ...] = key(
        "Statistics collected on a device, a file or an address (s3://), or a list: similarity and int8 ranges come "
        "from them; refit and acceptance need frames.",
        one_or_several(_STATISTICS),
        default=(),
    )
    refit: Path | None = key(
        "Layers refitted on a device (multigraft calibrate refit); their tasks take that graft or thinned network, or "
        "none.",
        file("a .mgrefit file that exists", (".mgrefit",)),
        default=None,
    )
    bundle: BundleSettings = key("", table(BundleSettings), default_factory=BundleSettings)
    budget: Budget = key("", table(Budget), default_factory=Budget)
    graft: GraftSettings = key("", table(GraftSettings), default_factory=GraftSettings)
    convert: ConvertSettings = key("", table(ConvertSettings), default_factory=ConvertSettings)
    exits: ExitSettings = key("", table(ExitSettings), default_factory=ExitSettings)
    offload: OffloadSettings = key("", table(OffloadSettings), default_factory=OffloadSettings)
    trusts_code: bool = False

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trusts_code: bool = False) -> Self:
        """Read and check a settings file.

        Args:
            path: The file.
            trusts_code: Agree to models that run code when they are opened (.pt2 and ``module:factory``).

        Raises:
            ConfigurationError: It is not there, is not TOML, has an unknown key or a wrong value, or contradicts
                itself; the message names file, key and remedy.
        """
        settings = cls.read(path, trusts_code=trusts_code)
        settings.check()
        return settings

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, trusts_code: bool = False) -> Self:
        """Read a settings file without :meth:`check`, for a caller that overrides some of it first.

        Raises:
            ConfigurationError: As for :meth:`load`, but for contradictions across keys.
        """
        path = Path(path).absolute()
        settings: Self = read_file(cls, path, path=path, trusts_code=trusts_code)
        return settings

    def frames_of(self, task: TaskSettings) -> Path | None:
        """The unlabeled frames that serve ``task``."""
        return task.frames or self.frames

    def check(self) -> None:
        """Refuse what contradicts itself across keys.

        Raises:
            ConfigurationError: As for :meth:`load`.
        """
        place = Place(self.path)
        if not self.tasks:
            place.at("task").fail("is empty", "write one [[task]] table per network")
        names: list[str] = []
        for i, task in enumerate(self.tasks):
            self._check_task(task, place.at("task").item(i))
            if task.name.lower() in names:
                place.at("task").item(i).at("name").fail(
                    f"is {task.name!r}, which another task has", "give every task a name of its own"
                )
            names.append(task.name.lower())
        self._check_cascades(place)
        for name in self.graft.share:
            if name not in {t.name for t in self.tasks}:
                place.at("graft").at("share").at(name).fail(
                    "is not the name of a task", nearest(name, [t.name for t in self.tasks])
                )
        check_names(self.graft.thin, [t.name for t in self.tasks], place)
        has_frames = any(self.frames_of(task) for task in self.tasks)
        self.convert.check(has_frames, place.at("convert"))
        kinds: dict[str, str] = {t.name: t.kind for t in self.tasks}
        has_fallback = self.convert.fallback and self.convert.precision in ("binary", "binary-int8")
        gated = [t.name for t in self.tasks if t.gate is not None]
        self.exits.check(kinds, gated, has_frames, self.convert.weights, has_fallback, place.at("exits"))
        self.offload.check(has_frames, place.at("offload"))

    def _check_cascades(self, place: Place) -> None:
        tasks = {task.name: task for task in self.tasks}
        for i, task in enumerate(self.tasks):
            here, chain = place.at("task").item(i).at("on"), [task.name]
            while (on := tasks[chain[-1]].on) is not None:
                if on.task not in tasks:
                    here.at("task").fail(f"is {on.task!r}, which no task is called", nearest(on.task, list(tasks)))
                if (answer := tasks[on.task].answer) is not None and is_function(answer.format):
                    here.at("task").fail(
                        f"is {on.task!r}, whose boxes {answer.format} makes, which no bundle carries",
                        "name a task whose format is built in",
                    )
                if on.task in chain:
                    here.at("task").fail(
                        f"leads back to where it began ({' on '.join([*chain, on.task])})",
                        "let one look at whole frames",
                    )
                chain.append(on.task)
            if task.on is not None and len(task.on.level) not in (0, 2):
                here.at("level").fail(f"has {len(task.on.level)} numbers", "write two, as in [0, 1]")

    @property
    def frames_needed(self) -> int:
        """Fewest held-out frames with which :attr:`Budget.min_agreement` can be shown at all, whatever the task."""
        return frames_needed(self.budget.min_agreement, self.budget.confidence)

    @property
    def least_agreements(self) -> dict[str, float]:
        """Task to the agreement that it has to show."""
        asked = self.budget.min_agreement
        return {t.name: asked if t.min_agreement is None else t.min_agreement for t in self.tasks}

    def _check_task(self, task: TaskSettings, place: Place) -> None:
        if task.state is not None and not task.is_factory:
            place.at("state").fail(
                f"belongs to a module:factory model, and model is {Path(task.model).name}", "remove state"
            )
        if task.tolerance is not None and task.kind not in TOLERANCE_KINDS:
            place.at("tolerance").fail(
                f"has no meaning for kind {task.kind!r}", f"remove it; it belongs to {', '.join(TOLERANCE_KINDS)}"
            )
        if self.frames_of(task) is None and not self.statistics:
            place.at("frames").fail("is missing", "name unlabeled frames here, or frames for all tasks at the top")


def parse_share(overrides: list[str], settings: Settings) -> dict[str, str]:
    """Command-line overrides ``TASK=LAYER`` over those of the settings.

    Raises:
        ConfigurationError: One is not of that form or names no task.
    """
    share = dict(settings.graft.share)
    for override in overrides:
        task, separator, layer = override.partition("=")
        if not separator or not task or not layer:
            raise ConfigurationError(
                f"--share {override} is not of the form TASK=LAYER", "write for instance digit=relu3"
            )
        if task not in {t.name for t in settings.tasks}:
            raise ConfigurationError(
                f"--share {override} names no task of {settings.path}", nearest(task, [t.name for t in settings.tasks])
            )
        share[task] = layer
    return share
