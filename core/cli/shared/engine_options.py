"""Options of the commands that run a bundle."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multigraft.answers.own_format import OwnFormat
    from multigraft.bundle.manifest import Manifest
    from multigraft.runtime import Engine


def add_engine_arguments(parser: argparse.ArgumentParser, is_needed: bool = True) -> None:
    """Add the bundle and how to run it."""
    parser.add_argument("bundle", nargs=None if is_needed else "?", help="a .graft file or a deployed folder")
    parser.add_argument("--tasks", metavar="A,B", help="answer these tasks only (default: all)")
    parser.add_argument("--no-exits", action="store_true", help="take no early exits: whole networks answer all frames")
    add_running_arguments(parser)


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how a bundle is loaded and run."""
    add_interpreter_arguments(parser)
    parser.add_argument("--no-self-test", action="store_true", help="do not run the golden inputs first")
    parser.add_argument(
        "--untrusted", action="store_true", help="first load and run the model in a child process, which may crash"
    )


def add_interpreter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which interpreter and how many threads."""
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads for the kernels (default: 1)")
    parser.add_argument(
        "--backend",
        choices=("auto", "litert", "tflite-runtime"),
        default="auto",
        help="interpreter (default: auto, ai-edge-litert where installed)",
    )


def open_engine(
    options: argparse.Namespace, own: Mapping[str, OwnFormat] | None = None
) -> tuple[Engine, tuple[str, ...] | None]:
    """The engine and the tasks asked for; None for all.

    Args:
        options: As parsed.
        own: Task to the user's function that makes its answer.

    Raises:
        BundleError: The bundle cannot be opened, fails its self-test, or has no such task.
    """
    from multigraft.runtime import Engine

    engine = Engine(
        options.bundle,
        options.threads,
        options.backend,
        self_test=not options.no_self_test,
        untrusted=options.untrusted,
        own=own,
        exits=not getattr(options, "no_exits", False),
    )
    tell_fallback(engine)
    for gate in engine.gates.values():
        gate.tell = lambda sentence: print(f"multigraft: {sentence}.", file=sys.stderr)
    return engine, chosen_tasks(engine.manifest, options.tasks)


def tell_fallback(engine: Engine) -> None:
    """Say on standard error why another model than the bundle's first runs, where one does."""
    if engine.fallback_reason is not None:
        print(f"multigraft: {engine.fallback_reason}", file=sys.stderr)


def chosen_tasks(manifest: Manifest, names: str | None) -> tuple[str, ...] | None:
    """Tasks as ``--tasks`` names them; None for all.

    Raises:
        BundleError: The bundle has no such task.
    """
    tasks = task_names(names)
    for name in tasks or ():
        manifest.task(name)
    return tasks


def task_names(names: str | None) -> tuple[str, ...] | None:
    """What ``--tasks`` names; None for all tasks, and one name that no task has where it names nothing."""
    if names is None:
        return None
    return tuple(name.strip() for name in names.split(",") if name.strip()) or ("",)
