"""``multigraft serve``: answers for as long as the machine runs, over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.bundle_sources import add_source_argument, open_bundle_source
from multigraft.cli.shared.engine_options import add_interpreter_arguments
from multigraft.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from multigraft.devices.cameras.camera import Camera
    from multigraft.runtime import Engine

LISTEN = "127.0.0.1:8080"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "bundle",
        nargs="?",
        type=Path,
        help="a .graft file or a deployed folder (default: the one that multigraft deploy put into the state folder)",
    )
    add_source_argument(parser, "camera")
    add_serving_arguments(parser)


def add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how to serve."""
    parser.add_argument("--tasks", metavar="A,B", help="answer these tasks only (default: all)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="the state folder (default: the service's own, else ~/.local/state/multigraft)",
    )
    parser.add_argument(
        "--listen",
        default=LISTEN,
        metavar="ADDRESS:PORT",
        help=f"where HTTP is spoken, or none; others than this machine need a token (default: {LISTEN})",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds what clients have to know (default: one is made in the state folder if others can ask)",
    )
    parser.add_argument("--rate", type=float, metavar="N", help="answer at most N frames a second")
    parser.add_argument(
        "--max-memory",
        type=int,
        metavar="MIB",
        help="end, to be started again, when this is exceeded (default: twice the use after five minutes, and 64)",
    )
    add_interpreter_arguments(parser)
    parser.add_argument("--no-self-test", action="store_true", help="do not run the golden inputs first")
    parser.add_argument(
        "--untrusted", action="store_true", help="first load and run the model in a child process, which may crash"
    )


def execute(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.service.front import Address
    from multigraft.runtime.service.serving import AGAIN, serve
    from multigraft.runtime.service.settings import Settings

    sources = options.source or ["camera"]
    try:
        check_serving(options)
        listen = None if options.listen == "none" else Address.parse(options.listen)
    except UsageError as error:
        # Under systemd a wrong option is a wrong configuration, which no restart mends.
        raise ConfigurationError(error.problem, error.remedy) from error
    names = None
    if options.tasks is not None:
        names = tuple(name.strip() for name in options.tasks.split(",") if name.strip()) or ("",)
    settings = Settings(
        bundle=options.bundle,
        sources=tuple(sources),
        state=state_folder(options.state),
        tasks=names,
        listen=listen,
        token_file=options.token_file,
        rate_hz=options.rate,
        most_memory_bytes=None if options.max_memory is None else options.max_memory << 20,
        threads=options.threads,
        backend=options.backend,
        self_test=not options.no_self_test,
        untrusted=options.untrusted,
    )

    def open_camera(engine: Engine, tasks: tuple[str, ...] | None) -> Camera:
        return open_bundle_source(settings.sources, engine.manifest, tasks)

    return 75 if serve(settings, open_camera) == AGAIN else 0


def check_serving(options: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: The rate or the memory is not positive.
    """
    if options.rate is not None and not options.rate > 0:
        raise UsageError(f"--rate is {options.rate:g}", "give a positive number of frames a second")
    if options.max_memory is not None and options.max_memory < 1:
        raise UsageError(f"--max-memory is {options.max_memory}", "give at least 1")
