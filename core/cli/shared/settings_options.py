"""Options of the commands that read a settings file, and the frames such a file names."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.trust import add_trust_argument
from multigraft.errors import InputError, UsageError

if TYPE_CHECKING:
    from multigraft.converters.network.frames import Frames
    from multigraft.converters.settings.settings import Settings
    from multigraft.tensors.preparation import Rows

MAX_FRAMES = 8192
MAX_FRAMES_BYTES = 1 << 30
"""A long video is read up to here, so that a machine with 4 GiB can graft."""
MIXED = "mixed"
"""A precision: int8, with few bits where the agreement allows it."""


def use_one_thread() -> None:
    """Let numpy's products use one thread, unless the user says otherwise.

    The order in which they add floats depends on the number of threads, and with it the last bits of refitted weights:
    one number gives the same bundle on machines of any number of cores. Has to be called before numpy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings file and what may override it."""
    use_one_thread()
    parser.add_argument("settings", type=Path, help="the settings file, multigraft.toml (see docs/settings.md)")
    parser.add_argument("--frames", metavar="FRAMES", help="unlabeled frames for all tasks, instead of those it names")
    parser.add_argument(
        "--statistics",
        action="append",
        metavar="FILE",
        help="statistics collected on a device (.mgstats), a file or an address such as s3://: similarity and int8 "
        "ranges come from them; refit and acceptance need frames too; once for each file where tasks look at crops",
    )
    parser.add_argument("--refit", metavar="FILE", help="layers refitted on a device (.mgrefit)")
    parser.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="TASK=LAYER",
        help="the trunk layer a task shares up to, or none, instead of the automatic choice; may be repeated",
    )
    parser.add_argument(
        "--thin",
        action="append",
        default=[],
        metavar="SHARE",
        help="what may be left of the networks' weights, or TASK=SHARE for one of them: auto (the least that keeps "
        "min_agreement), none, or a number below 1; may be repeated",
    )
    parser.add_argument(
        "--effort", choices=("low", "medium", "high"), help="how long the search of large networks may take"
    )
    parser.add_argument("--refine", choices=("none", "distill"), help="label-free refinement after the refit")
    add_trust_argument(parser)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights``, ``--min-agreement`` and ``--no-fallback``."""
    parser.add_argument(
        "--weights",
        choices=("8bit", "4bit", "2bit", "auto", "1bit", "auto-1bit"),
        help="of layers that a stock interpreter takes with 4- or 2-bit weights; auto: in those where that saves most "
        "memory and keeps the agreement; 1bit and auto-1bit: weights and values of 1 bit in convolutions, or in those "
        "where that gains and keeps the agreement; an int8 model comes along for interpreters without them",
    )
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE", help="the agreement to keep, as a lower bound: 0.98"
    )
    parser.add_argument(
        "--no-fallback",
        action="store_true",
        help="leave out the model that runs where an interpreter has no delegate for bits, or no weights of few bits",
    )


def of_precision(precision: Any, weights: Any) -> tuple[Any, Any]:
    """Precision and weights that are meant, as arguments were read: mixed is int8 with the choice of few bits."""
    return ("int8", weights or "auto") if precision == MIXED else (precision, weights)


def asked_agreement(options: argparse.Namespace, otherwise: float) -> float:
    """What ``--min-agreement`` asks for, or else ``otherwise``.

    Raises:
        UsageError: It is no share.
    """
    asked: float = otherwise if options.min_agreement is None else options.min_agreement
    if not 0 < asked < 1:
        raise UsageError(f"--min-agreement is {asked:g}", "give a number above 0 and below 1")
    return asked


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings with the options over them, checked.

    Raises:
        ConfigurationError: The file is wrong, or contradicts itself or the options.
        UsageError: An option cannot be served.
    """
    from multigraft.converters.settings.settings import Settings, parse_share
    from multigraft.converters.settings.thin_shares import parse_thin
    from multigraft.converters.urls import is_url

    settings = Settings.read(options.settings, trusts_code=options.trust_code)
    if options.statistics is not None:
        named = tuple(name if is_url(name) else Path(name) for name in options.statistics)
        settings = dataclasses.replace(settings, statistics=named)
    if options.refit is not None:
        settings = dataclasses.replace(settings, refit=Path(options.refit))
    if options.frames is not None:
        tasks = tuple(dataclasses.replace(task, frames=None) for task in settings.tasks)
        settings = dataclasses.replace(settings, tasks=tasks, frames=Path(options.frames))
    graft = dataclasses.replace(
        settings.graft,
        share=parse_share(options.share, settings),
        refine=options.refine or settings.graft.refine,
        effort=options.effort or settings.graft.effort,
        thin=parse_thin(options.thin, settings.graft.thin, [t.name for t in settings.tasks], settings.path),
    )
    settings = dataclasses.replace(settings, graft=graft)
    settings.check()
    return settings


def load_frames(source: Path, rows: Rows | None = None) -> Frames:
    """All frames of a folder, video or array file, up to :data:`MAX_FRAMES` and :data:`MAX_FRAMES_BYTES`.

    Args:
        source: What holds them.
        rows: Shape of a row for tasks that take arrays, or the windows of sound; None for pictures.

    Raises:
        InputError: It is not there, empty, or holds no frames.
    """
    from multigraft.devices.cameras.sources import open_source

    frames, read_bytes = [], 0
    with open_source(str(source), rows) as camera:
        if getattr(camera, "skipped", 0):
            print(f"note: {camera.name}", file=sys.stderr)
        for frame in itertools.islice(camera, MAX_FRAMES):
            read_bytes += frame.nbytes
            if read_bytes > MAX_FRAMES_BYTES:
                break
            frames.append(frame)
    if not frames:
        raise InputError(f"{source} holds no frames", "give a source with some")
    return frames


def check_output(path: Path, remedy: str = "choose an existing folder you may write") -> None:
    """Refuse an output file that could not be written after minutes of work.

    Raises:
        UsageError: Its folder is not there or not writable, or it is a folder itself.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: its folder {folder} does not exist", remedy)
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path} cannot be written: {folder} is not writable", remedy)


def check_folder(folder: Path) -> None:
    """Refuse a folder for results that could not be made or written after minutes of work.

    Raises:
        UsageError: It is a file, or the folder it shall lie in is not there or not writable.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name a folder")
    check_output(folder / "summary.json" if folder.is_dir() else folder)
