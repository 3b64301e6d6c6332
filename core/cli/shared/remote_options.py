"""Options of the commands that work on other machines, and the work on one or many of them."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table
from multigraft.errors import MultigraftError, UsageError

if TYPE_CHECKING:
    from multigraft.runtime.deploy.waves import Outcome

PARALLEL = 8


def add_remote_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which machines, and how they are reached."""
    parser.add_argument("--host", metavar="USER@HOST", help="do it on that machine, by ssh")
    parser.add_argument(
        "--hosts",
        type=Path,
        metavar="FILE",
        help="do it on the machines of a file, one a line, an empty line between waves; stop after a failed wave",
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=PARALLEL,
        metavar="N",
        help=f"machines of a wave at a time (default: {PARALLEL})",
    )
    parser.add_argument(
        "--command",
        dest="remote_command",
        default="multigraft",
        metavar="COMMAND",
        help="what starts multigraft there (default: multigraft), such as 'sudo -u multigraft multigraft'",
    )
    parser.add_argument("--ssh", default="ssh", metavar="COMMAND", help="the ssh to use, with options (default: ssh)")


def add_state_argument(parser: argparse.ArgumentParser) -> None:
    """Add where the bundles of a machine lie."""
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="the state folder, where bundles lie (default: the service's own, else ~/.local/state/multigraft)",
    )


def on_machines(
    options: argparse.Namespace,
    arguments: Sequence[str],
    given: Sequence[bytes],
    sentence: Callable[[dict[str, Any]], str],
) -> int | None:
    """Run a command on the machines that were asked for; None where none was.

    Raises:
        MultigraftError: It failed on the one machine.
        UsageError: The options contradict each other.
    """
    from multigraft.runtime.deploy.remote import Remote
    from multigraft.runtime.deploy.waves import in_waves, read_waves

    if options.host is None and options.hosts is None:
        return None
    if options.host is not None and options.hosts is not None:
        raise UsageError("--host and --hosts exclude each other", "give one of them")
    if options.parallel < 1:
        raise UsageError(f"--parallel is {options.parallel}", "give at least 1")
    words = shlex.split(options.ssh)
    if not words:
        raise UsageError("--ssh is empty", "give the ssh program")
    remote = Remote(options.remote_command, tuple(words), asks=options.host is not None)
    if options.host is not None:
        answer = remote.ask(options.host, arguments, given)
        print(json_text({"host": options.host, **answer}) if options.json else f"{options.host}: {sentence(answer)}")
        return 0
    outcomes = in_waves(
        read_waves(options.hosts), lambda host: remote.ask(host, arguments, given), options.parallel, _tell
    )
    if options.json:
        print(json_text([{"host": o.host, "wave": o.wave, "result": o.result, **_details(o)} for o in outcomes]))
    else:
        said = [outcome.problem or (sentence(outcome.answer) if outcome.answer else "") for outcome in outcomes]
        rows = [[str(o.wave), o.host, o.result, text] for o, text in zip(outcomes, said, strict=True)]
        print_table(f"{sum(o.result == 'done' for o in outcomes)} of {len(outcomes)} machines", _COLUMNS, rows)
    return 0 if all(outcome.result == "done" for outcome in outcomes) else MultigraftError.exit_code


_COLUMNS = ("wave", "machine", "result", "")


def _details(outcome: Outcome) -> dict[str, Any]:
    return outcome.answer or ({"problem": outcome.problem} if outcome.problem else {})


def _tell(outcome: Outcome) -> None:
    print(f"multigraft: {outcome.host}: {outcome.result}", file=sys.stderr)
