"""``multigraft setup-onnx2tf``: make the converter's own environment now."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no arguments of its own."""


def execute(options: argparse.Namespace) -> int:
    """Make the environment if it is not there yet, and print where it is."""
    from multigraft.converters.conversion.onnx2tf_environment import ensure
    from multigraft.converters.job.progress import terminal_report

    with terminal_report() as report:
        environment = ensure(report)
    if options.json:
        print(json.dumps({"python": str(environment.python), "onnx2tf": environment.version}))
    else:
        print(f"onnx2tf {environment.version} is ready: {environment.python}")
    return 0
