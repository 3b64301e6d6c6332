"""Options of the commands that talk to a board."""

from __future__ import annotations

import argparse

EMULATED_TIMEOUT_S = 90.0
"""QEMU is slower than any board where the workstation is busy, and is ended by the command that started it."""


def add_timeout_argument(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Add how long a board may take; :func:`timeout_s` says it.

    Args:
        parser: Gets the argument.
        where: Begins its help.
    """
    from multigraft.devices.target.link import TIMEOUT_S

    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"{where}the most that the board may take for one answer (default: {TIMEOUT_S:g}; `firmware verify`: more "
        "where the model takes more)",
    )


def timeout_s(options: argparse.Namespace, emulated: bool = False, budget_s: float = 0.0) -> float:
    """What was asked, or else the default of boards or of those in QEMU, or what the model takes if that is more."""
    from multigraft.devices.target.link import TIMEOUT_S
    from multigraft.devices.target.requests import LONGEST_TIMEOUT_S

    if options.timeout is not None:
        asked: float = options.timeout
        return asked
    return min(max(EMULATED_TIMEOUT_S if emulated else TIMEOUT_S, budget_s), LONGEST_TIMEOUT_S)
