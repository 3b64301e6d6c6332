"""Options for weights of few bits, of the commands that choose a precision."""

from __future__ import annotations

import argparse
from typing import Any

from multigraft.errors import UsageError

MIXED = "mixed"
"""A precision: int8, with few bits where the agreement allows it."""


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights`` and ``--min-agreement``."""
    parser.add_argument(
        "--weights",
        choices=("8bit", "4bit", "2bit", "auto"),
        help="of layers that a stock interpreter takes with 4- or 2-bit weights; auto: in those where that saves most "
        "memory and keeps the agreement; an int8 model comes along for interpreters without them",
    )
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE", help="the agreement to keep, as a lower bound: 0.98"
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
