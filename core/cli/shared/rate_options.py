"""``--rate``: how often tasks are answered."""

from __future__ import annotations

import argparse


def add_rate_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add it, repeated for tasks with rates of their own.

    Args:
        parser: Of the command.
        what: What becomes of rates.
    """
    parser.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="[TASK=]N[,priority=P][,deadline=200ms]",
        help=what,
    )
