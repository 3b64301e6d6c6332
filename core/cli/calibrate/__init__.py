"""``multigraft calibrate``: field calibration, one sub-command per step."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

STEPS = {
    "prepare": "make the taps bundle: the original networks with their representations as outputs (workstation)",
    "collect": "collect statistics from a camera; Ctrl-C and power cuts are fine, the same command resumes (device)",
    "combine": "add up statistics of several runs or devices",
    "report": "show what statistics hold, as one HTML page (workstation)",
    "plan": "make the refit bundle: what a device needs to re-solve grafted layers itself (workstation)",
    "refit": "re-solve grafted layers from frames, of which none is stored; the same command resumes (device)",
    "validate": "measure how often a bundle answers as the original networks (device)",
    "purge": "remove the frames that collect kept with --keep-frames",
}
"""Sub-command to one-line help; the module is ``multigraft.cli.calibrate.<step>``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    if "collect" in sys.argv:
        # numpy's BLAS reads it when it is imported, which happens below. Its products are so small here that threads
        # only wait for each other, and take the processor from the networks.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name, summary in STEPS.items():
        step = steps.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        importlib.import_module(f"multigraft.cli.calibrate.{name}").add_arguments(step)
        # Without a default of its own it would undo a --json given before the step.
        step.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")


def execute(options: argparse.Namespace) -> int:
    """Run the sub-command."""
    code: int = importlib.import_module(f"multigraft.cli.calibrate.{options.step}").execute(options)
    return code
