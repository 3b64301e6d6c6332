"""``multigraft rollback``: let the bundle before be served again, here or on other machines."""

from __future__ import annotations

import argparse
from typing import Any

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.remote_options import add_remote_arguments, add_state_argument, on_machines
from multigraft.reading import printable

_SHOWN = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_state_argument(parser)
    add_remote_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Print what is served from the next start on, or a table of machines."""
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.deploy.trial import roll_back

    state = [] if options.state is None else ["--state", str(options.state)]
    code = on_machines(options, ["rollback", "--json", *state], (), _sentence)
    if code is None:
        answer = {"digest": roll_back(state_folder(options.state)).name}
        print(json_text(answer) if options.json else _sentence(answer))
    return code or 0


def _sentence(answer: dict[str, Any]) -> str:
    return f"{printable(str(answer.get('digest'))[:_SHOWN])} is served from the next start on"
