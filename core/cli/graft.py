"""``multigraft graft``: the first half alone, from networks to one multi-task ONNX graph."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from multigraft.cli.shared.settings_options import add_settings_arguments, check_output, load_frames, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_settings_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.onnx in this folder")


def execute(options: argparse.Namespace) -> int:
    """Graft, write the graph, and print the plan, or with ``--json`` the plan and the whole Pareto front."""
    settings = read_settings(options)
    output = options.output or Path(f"{settings.bundle.name}.onnx")
    check_output(output)
    from multigraft.converters.build import graft
    from multigraft.converters.job.progress import terminal_report

    with terminal_report() as report:
        grafted = graft(settings, load_frames, report)
    grafted.multitask.save(output)
    if options.json:
        print(json.dumps({"output": str(output), **grafted.outcome.to_json()}, indent=1))
    else:
        print(f"{output}: {grafted.outcome.message}")
    return 0
