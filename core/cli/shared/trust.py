"""The consent to run code, which no settings file can give."""

from __future__ import annotations

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add it."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="open .pt2 files and module:function, which run code of whoever wrote them (or MULTIGRAFT_TRUST_CODE=1)",
    )
