"""``multigraft exits``: the early exits that an audit closed, here or on other machines, and how they are opened."""

from __future__ import annotations

import argparse
from typing import Any

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.remote_options import add_remote_arguments, add_state_argument, on_machines
from multigraft.reading import printable
from multigraft.visible import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--reopen",
        nargs="*",
        metavar="EXIT",
        help="let frames leave by these exits again, or by all that are closed; a running service does so within "
        "seconds, and audits them anew",
    )
    add_state_argument(parser)
    add_remote_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Print what is closed, or what was opened."""
    from multigraft.errors import ConfigurationError, UsageError
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.service.closed_exits import read_closed, reopen

    state = [] if options.state is None else ["--state", str(options.state)]
    asked = [] if options.reopen is None else ["--reopen", *options.reopen]
    code = on_machines(options, ["exits", "--json", *asked, *state], (), _sentence)
    if code is not None:
        return code
    folder = state_folder(options.state)
    if options.state is not None and not folder.is_dir():
        raise UsageError(f"there is no state folder {printable(str(folder))}", "name the one that the service has")
    if options.reopen is None:
        answer = {"closed": [_plain(one) for one in read_closed(folder)]}
    else:
        try:
            answer = {"opened": [_plain(one) for one in reopen(folder, tuple(options.reopen))]}
        except OSError as error:
            raise ConfigurationError(
                f"the state folder {printable(str(folder))} cannot be written ({error.strerror})",
                "run this as the user that the service has",
            ) from error
    print(json_text(answer) if options.json else _sentence(answer))
    return 0


def _plain(one: Any) -> dict[str, Any]:
    return {**vars(one), "sentence": one.sentence}


def _sentence(answer: dict[str, Any]) -> str:
    opened = answer.get("opened")
    listed = answer.get("closed") if opened is None else opened
    told = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not told:
        return "no exit is closed" if opened is None else "no exit was closed"
    if opened is None:
        return "; ".join(visible(str(one.get("sentence"))) for one in told)
    return "opened: " + ", ".join(printable(f"{one.get('task')}/{one.get('exit')}") for one in told)
