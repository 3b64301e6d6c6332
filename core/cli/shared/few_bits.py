"""Options for weights of few bits, of the commands that choose a precision."""

from __future__ import annotations

import argparse
from typing import Any

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
        "--min-agreement", type=_share, metavar="SHARE", help="the agreement to keep, as a lower bound: 0.98"
    )


def of_precision(precision: Any, weights: Any) -> tuple[Any, Any]:
    """Precision and weights that are meant, as arguments were read: mixed is int8 with the choice of few bits."""
    return ("int8", weights or "auto") if precision == MIXED else (precision, weights)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below 1")
    return value
