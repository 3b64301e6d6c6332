"""``multigraft deploy``: let a bundle be served here, or on other machines by ssh, once it has passed its self-test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.engine_options import add_interpreter_arguments
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.remote_options import add_remote_arguments, add_state_argument, on_machines
from multigraft.errors import UsageError
from multigraft.reading import printable, read_file

if TYPE_CHECKING:
    from multigraft.runtime.deploy.deploying import Policy

_KEPT = 2
_SHOWN = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("bundle", nargs="?", type=Path, help="a .graft file; its .minisig beside it goes with it")
    add_state_argument(parser)
    add_remote_arguments(parser)
    parser.add_argument("--require-signature", action="store_true", help="take nothing that no trusted key has signed")
    parser.add_argument("--restart", metavar="UNIT", help="restart this systemd unit if it runs")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait until the service has settled on the bundle"
    )
    parser.add_argument(
        "--keep", type=int, default=_KEPT, metavar="N", help=f"bundles kept beside current and previous ({_KEPT})"
    )
    add_interpreter_arguments(parser)
    parser.add_argument("--receive", action="store_true", help="read the bundle from standard input, as --host sends")


def execute(options: argparse.Namespace) -> int:
    """Print what is served from the next start on, or a table of machines."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.runtime.deploy.deploying import deploy
    from multigraft.runtime.deploy.signatures import LARGEST_GRAFT, signature_beside
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.deploy.stream import packed, unpacked

    policy = _policy(options)
    if options.receive:
        if options.bundle is not None or options.host is not None or options.hosts is not None:
            raise UsageError("--receive takes its bundle from standard input", "name neither bundle nor machine")
        data, signature = unpacked(sys.stdin.buffer)
    elif options.bundle is None:
        raise UsageError("no bundle was named", "name a .graft file")
    else:
        data, signature = read_file(options.bundle, LARGEST_GRAFT), signature_beside(options.bundle)
        if options.host is not None or options.hosts is not None:
            Bundle.from_bytes(data, str(options.bundle))
            arguments = ["deploy", "--receive", "--json", *_passed_on(options)]
            code = on_machines(options, arguments, (packed(data, signature), data), _sentence)
            assert code is not None
            return code
    name = str(options.bundle or "the bundle")
    answer = deploy(data, signature, state_folder(options.state), policy, name).to_json()
    print(json_text(answer) if options.json else _sentence(answer))
    return 0


def _policy(options: argparse.Namespace) -> Policy:
    from multigraft.runtime.deploy.deploying import Policy

    if options.keep < 0:
        raise UsageError(f"--keep is {options.keep}", "give 0 or more")
    if not 0 <= options.wait < float("inf"):
        raise UsageError(f"--wait is {options.wait}", "give seconds")
    return Policy(
        options.backend, options.threads, options.require_signature, options.keep, options.restart, options.wait
    )


def _passed_on(options: argparse.Namespace) -> list[str]:
    """What the machine does is said here."""
    words = ["--keep", str(options.keep), "--threads", str(options.threads), "--backend", options.backend]
    if options.wait:
        words += ["--wait", f"{options.wait:g}"]
    for name in ("state", "restart"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    return [*words, *(["--require-signature"] if options.require_signature else [])]


def _sentence(answer: dict[str, Any]) -> str:
    name = printable(f"{answer.get('bundle')} ({str(answer.get('digest'))[:_SHOWN]})")
    if not answer.get("is_new"):
        return f"{name} is served already"
    return f"{name} is served from the next start on; self-test: {printable(str(answer.get('self_test')))}"
