"""Options of the commands whose answers change only when more than one frame says so."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.runtime.quiet.steady import Rule


def add_quiet_arguments(parser: argparse.ArgumentParser, about: str = "") -> None:
    """Add how calm answers are; ``about`` stands before each help."""
    parser.add_argument(
        "--steady",
        type=int,
        metavar="N",
        help=f"{about}a class changes when more than half of the last N frames say so; "
        "things vanish after N frames away",
    )
    parser.add_argument(
        "--enter",
        type=float,
        metavar="SCORE",
        help=f"{about}classes of boxes and labels come in at this score (needs --leave)",
    )
    parser.add_argument("--leave", type=float, metavar="SCORE", help=f"{about}and leave below this one")


def rule_of(options: argparse.Namespace, usual: Rule) -> Rule:
    """What was asked for, in place of what is usual.

    Raises:
        UsageError: Thresholds that are none, or a number of frames that is none.
    """
    from dataclasses import replace

    from multigraft.runtime.quiet.hysteresis import Hysteresis
    from multigraft.runtime.quiet.majority import Majority

    if (options.enter is None) != (options.leave is None):
        raise UsageError("--enter and --leave need each other", "give both, or neither")
    rule = usual
    if options.steady is not None:
        Majority[int](options.steady)
        rule = replace(rule, frames=options.steady, patience=options.steady)
    if options.enter is not None:
        Hysteresis(options.enter, options.leave)
        rule = replace(rule, enter=options.enter, leave=options.leave)
    return rule


def quiet_words(options: argparse.Namespace) -> list[str]:
    """The same as words of a command line."""
    names = ("steady", "enter", "leave")
    given = [(name, getattr(options, name)) for name in names if getattr(options, name) is not None]
    return [word for name, value in given for word in (f"--{name}", f"{value:g}")]
