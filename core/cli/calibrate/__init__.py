"""``multigraft calibrate``: field calibration, one sub-command per step."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

STEPS = {
    "prepare": "make the taps bundle: the original networks with their representations as outputs (workstation)",
    "collect": "collect statistics from a camera; Ctrl-C and power cuts are fine, the same command resumes (device)",
    "combine": "add up statistics of several runs or devices: two files, or a bucket of ten thousand",
    "sites": "make a table of many devices, one row a site and day, and a page that draws it (workstation)",
    "report": "show what statistics hold, as one HTML page (workstation)",
    "plan": "make the refit bundle: what a device needs to re-solve grafted layers itself (workstation)",
    "refit": "re-solve grafted layers from frames, of which none is stored; the same command resumes (device)",
    "validate": "measure how often a bundle answers as the original networks (device)",
    "purge": "remove the frames that collect kept with --keep-frames",
}
"""Sub-command to one-line help; the module is ``multigraft.cli.calibrate.<step>``."""


class _StepParser(argparse.ArgumentParser):
    """Imports its step when it is asked to parse: the help of one step, or of all, need not load the others."""

    step = ""
    has_arguments = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        if not self.has_arguments:
            self.has_arguments = True
            _module(self.step).add_arguments(self)
            # Without a default of its own it would undo a --json given before the step.
            self.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
        return super().parse_known_args(args, namespace)


def _module(step: str) -> ModuleType:
    return importlib.import_module(f"multigraft.cli.calibrate.{step}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True, parser_class=_StepParser)
    for name, summary in STEPS.items():
        step = steps.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        step.step = name


def execute(options: argparse.Namespace) -> int:
    """Run the sub-command."""
    code: int = _module(options.step).execute(options)
    return code
