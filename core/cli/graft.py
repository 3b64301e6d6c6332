"""``multigraft graft``: the first half alone, from networks to one multi-task ONNX graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.missed_budget import add_allow_miss, missed_name, refuse
from multigraft.cli.shared.settings_options import add_settings_arguments, check_output, load_frames, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_settings_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.onnx in this folder")
    add_allow_miss(parser)


def execute(options: argparse.Namespace) -> int:
    """Graft, write the graph, and print the plan, or with ``--json`` the plan and the whole Pareto front.

    Raises:
        BudgetError: The plan misses the budget; the graph lies beside the output then.
    """
    settings = read_settings(options)
    output = options.output or Path(f"{settings.bundle.name}.onnx")
    check_output(output)
    check_output(missed_name(output))
    from multigraft.converters.build import graft
    from multigraft.converters.job.checkpoints import SUFFIX, Checkpoints
    from multigraft.converters.job.progress import terminal_report

    checkpoints = Checkpoints(output.with_name(output.name + SUFFIX))
    with checkpoints.cleared_on_success():
        with terminal_report() as report:
            grafted = graft(settings, load_frames, report, checkpoints=checkpoints)
        outcome = grafted.outcome
        misses = outcome.misses()
        written = missed_name(output) if misses and not options.allow_miss else output
        grafted.multitask.save(written)
        if options.json:
            missed = [vars(miss) for miss in misses]
            print(json_text({"output": str(written), "missed": missed, **outcome.to_json()}, indent=1))
        else:
            print(f"{written}: {outcome.message}")
        refuse(written, output, misses)
    return 0
