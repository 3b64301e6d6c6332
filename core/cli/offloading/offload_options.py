"""Options of commands that let a server answer hard frames."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.errors import UsageError
from multigraft.reading import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multigraft.runtime import Engine
    from multigraft.runtime.offload.inference_client import InferenceClient
    from multigraft.runtime.offload.offloading import Offloading, Sends

DEADLINE_MS = 500.0
_GIVEN = ("token_file", "ca", "deadline", "below", "bits", "sends")


def add_server_arguments(parser: argparse.ArgumentParser, used_for: str) -> None:
    """Add which server.

    Args:
        parser: Of the command.
        used_for: What it does there.
    """
    parser.add_argument("--offload", metavar="URL", help=f"{used_for} (docs/offload.md): http://server:8000")
    parser.add_argument("--offload-token-file", type=Path, metavar="FILE", help="holds the token that the server wants")
    parser.add_argument(
        "--offload-ca", type=Path, metavar="FILE", help="certificates to trust, PEM (default: those of the system)"
    )


def add_offload_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which server, and when it is asked."""
    add_server_arguments(parser, "a server that answers from a cut point on, in full precision")
    parser.add_argument(
        "--offload-deadline",
        type=float,
        metavar="MS",
        help=f"milliseconds from a frame's begin, after which the local answer stands (default: {DEADLINE_MS:g})",
    )
    parser.add_argument(
        "--offload-below",
        type=float,
        metavar="SCORE",
        help="ask the server only where the local class has a lower score, 0 to 1 (default: every frame)",
    )
    parser.add_argument(
        "--offload-bits", type=int, metavar="N", help="bits a value on the wire, 2 to 8 (default: as the link allows)"
    )


def add_sends_argument(parser: argparse.ArgumentParser) -> None:
    """Add what travels, where the bundle or the server could say it, too."""
    parser.add_argument(
        "--offload-sends",
        choices=("chosen", "any", "cut", "input"),
        help="what travels: what the build chose, whatever the server has a model for, the tensor at a cut point, or "
        "the network input (default: chosen; any where the build chose nothing)",
    )


def offloading_of(options: argparse.Namespace, engine: Engine, tasks: Sequence[str] | None) -> Offloading | None:
    """What asks the server; None without one.

    Args:
        options: As parsed.
        engine: Runs the bundle here.
        tasks: Which are answered; None for all. Those that no server can answer stay local.

    Raises:
        UsageError: An option is out of its range, or none of the tasks can be offloaded.
    """
    if (client := client_of(options)) is None:
        return None
    from multigraft.runtime.offload.offloading import Offloading

    names = offloadable(engine, tasks)
    below, bits = options.offload_below, options.offload_bits
    sends: Sends = options.offload_sends or "chosen"
    for name in names:
        choice = engine.manifest.task(name).offload
        if sends == "chosen" and choice is not None and choice.is_local:
            print(
                f"multigraft: {name} stays local: on {printable(choice.link)} no server was faster when the bundle was "
                "built; --offload-sends any asks one all the same.",
                file=sys.stderr,
            )
    return Offloading(engine, names, client, deadline_s(options), below, bits, sends)


def deadline_s(options: argparse.Namespace) -> float:
    """Of a frame, seconds."""
    return (DEADLINE_MS if options.offload_deadline is None else float(options.offload_deadline)) / 1000


def client_of(options: argparse.Namespace) -> InferenceClient | None:
    """The server that is named; None without one.

    Raises:
        UsageError: An option is out of its range, or given without a server.
    """
    check_offload(options)
    return None if options.offload is None else connected(options)


def check_server_named(options: argparse.Namespace) -> None:
    """Refuse options of a server that is not named.

    Raises:
        UsageError: There are some.
    """
    if options.offload is None and any(getattr(options, f"offload_{name}", None) is not None for name in _GIVEN):
        raise UsageError("options of offloading without a server", "name it: --offload http://server:8000")


def check_offload(options: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: An option is out of its range, or given without a server.
    """
    check_server_named(options)
    if options.offload is None:
        return
    deadline_ms = deadline_s(options) * 1000
    if not 1 <= deadline_ms <= 3_600_000:
        raise UsageError(f"--offload-deadline is {deadline_ms:g}", "give 1 to 3600000 milliseconds")
    if options.offload_below is not None and not 0 <= options.offload_below <= 1:
        raise UsageError(f"--offload-below is {options.offload_below:g}", "give 0 to 1")
    if options.offload_bits is not None and not 2 <= options.offload_bits <= 8:
        raise UsageError(f"--offload-bits is {options.offload_bits}", "give 2 to 8")


def offload_words(options: argparse.Namespace) -> list[str]:
    """The same options as words of a command line, without the token's file."""
    if options.offload is None:
        return []
    words = ["--offload", options.offload]
    if options.offload_ca is not None:
        words += ["--offload-ca", str(options.offload_ca.absolute())]
    for name in ("deadline", "below", "sends", "bits"):
        value = getattr(options, f"offload_{name}")
        if value is not None:
            words += [f"--offload-{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def connected(options: argparse.Namespace) -> InferenceClient:
    """The server of the options of :func:`add_server_arguments`, named there."""
    from multigraft.runtime.offload.exchange import Exchange
    from multigraft.runtime.offload.inference_client import InferenceClient
    from multigraft.runtime.offload.server_address import ServerAddress

    address = ServerAddress.parse(options.offload, options.offload_token_file, options.offload_ca)
    if address.tells_token:
        print(f"multigraft: the token goes to {address.shown} without encryption; write https://.", file=sys.stderr)
    return InferenceClient(Exchange(address))


def tell_ends(offloading: Offloading) -> None:
    """Say on standard error how many answers came from where."""
    if not offloading.ends:
        return
    total = sum(offloading.ends.values())
    parts = [f"{count:,} {'from the server' if end == 'server' else f'local ({end})'}" for end, count in
             offloading.ends.most_common()]  # fmt: skip
    print(f"multigraft: of {total:,} answers {'; '.join(parts)}.", file=sys.stderr)


def offloadable(engine: Engine, tasks: Sequence[str] | None) -> list[str]:
    """Those of the tasks that have a cut point.

    Args:
        engine: Runs the bundle.
        tasks: Which; None for all.

    Raises:
        UsageError: None of them has one.
    """
    from multigraft.runtime.offload.cuts import cuts_of

    names = [t.name for t in engine.manifest.tasks] if tasks is None else list(tasks)
    chosen, reason = [], UsageError("no task can be offloaded", "build a bundle with a cut point")
    for name in names:
        try:
            if cuts_of(engine.manifest, name):
                chosen.append(name)
        except UsageError as error:
            reason = error
    if not chosen:
        raise reason
    return chosen
