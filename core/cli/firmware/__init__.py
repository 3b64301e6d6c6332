"""``multigraft firmware``: a bundle or an int8 .tflite as a C project, and what it costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.firmware import generate as firmware_generate
from multigraft.cli.firmware import report as firmware_report
from multigraft.cli.firmware import verify as firmware_verify
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "what", metavar="[NAME=]MODEL|ops|report|verify", help="a .graft or int8 .tflite to generate from; or a word"
    )
    parser.add_argument(
        "more",
        nargs="*",
        metavar="FOLDER|[NAME=]MODEL",
        help="for `report` and `verify`: a folder that was generated; else further models, which never run at once",
    )
    parser.add_argument("--board", help="what to generate for; `multigraft devices boards` lists them")
    parser.add_argument("-o", "--output", type=Path, help="the project's folder")
    parser.add_argument(
        "--prefix",
        metavar="NAME",
        help="what symbols, files and the library are called (default: model; of several models, whose own names come "
        "of their files or NAME=, what they share: models)",
    )
    parser.add_argument("--force", action="store_true", help="write into a folder that holds other files, too")
    parser.add_argument("--ram", type=int, metavar="BYTES", help="fail if the model needs more RAM than this")
    parser.add_argument("--flash", type=int, metavar="BYTES", help="fail if its constants need more flash than this")
    parser.add_argument(
        "--frame",
        metavar="HEIGHTxWIDTH",
        help="pixels of the frame that tasks on boxes cut crops of (default: those of the first detector's input)",
    )
    parser.add_argument("--no-exits", action="store_true", help="whole networks answer, whatever exits a bundle has")
    parser.add_argument("--learn", metavar="TASK", help="let the board solve this task's last layer anew, from frames")
    parser.add_argument("--classes", type=int, metavar="N", help="how many classes the task that learns can have")
    parser.add_argument(
        "--known", metavar="FRAMES", help="of a bundle: unlabeled frames of the classes that it knows, which it keeps"
    )
    firmware_report.add_arguments(parser)
    firmware_verify.add_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    if options.what == "ops":
        return _ops(options)
    if options.what == "report":
        return firmware_report.execute(options, folder_of(options.more))
    if options.what == "verify":
        return firmware_verify.execute(options, folder_of(options.more))
    return firmware_generate.execute(options)


def folder_of(words: list[str]) -> Path | None:
    """The folder that `report` and `verify` are about; None where none is named."""
    if len(words) > 1:
        raise UsageError(f"one folder at a time, not also {words[1]}", "name one that `multigraft firmware` wrote")
    return Path(words[0]) if words else None


def _ops(options: argparse.Namespace) -> int:
    from multigraft.firmware_gen.inspection.operator_table import operator_table
    from multigraft.firmware_gen.operators import OPERATORS

    if options.json:
        print(json_text({n: {"takes": o.summary, "demands": o.demands()} for n, o in sorted(OPERATORS.items())}))
    else:
        print(operator_table())
    return 0
