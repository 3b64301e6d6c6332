"""``multigraft setup-onnx2tf``: make the converter's own environment now."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="make it with this Python 3.12 or 3.13, where none is found and none can be fetched; pip's own variables, "
        "such as PIP_FIND_LINKS with PIP_NO_INDEX=1, say where the packages come from",
    )


def execute(options: argparse.Namespace) -> int:
    """Make the environment if it is not there yet, and print where it is."""
    from multigraft.converters.conversion.onnx2tf_environment import ensure
    from multigraft.converters.job.progress import terminal_report

    with terminal_report() as report:
        environment = ensure(report, Path(options.python) if options.python else None)
    if options.json:
        print(json_text({"python": str(environment.python), "onnx2tf": environment.version}))
    else:
        print(f"onnx2tf {environment.version} is ready: {environment.python}")
    return 0
