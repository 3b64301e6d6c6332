"""``multigraft doctor``: what this machine has, what is missing, and what to type."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text

WRONG = 1
"""Exit code where something is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write the findings there, too, to attach to an issue: without names, addresses, serial numbers, folders",
    )


def execute(options: argparse.Namespace) -> int:
    """Print a line per finding as it comes; 1 where something is wrong."""
    if (broken := _broken_numpy()) is not None:
        if options.json:
            print(json_text({"well": False, "findings": [broken]}, indent=2))
        else:
            print(f"{broken['state']:<8} {broken['name']}: {broken['said']}\n{'':<8} -> {broken['remedy']}")
        return WRONG
    from multigraft import files
    from multigraft.runtime.doctor.examination import examine, is_well, to_json
    from multigraft.runtime.doctor.report import report
    from multigraft.runtime.doctor.system import System
    from multigraft.visible import visible

    system, findings = System(), []
    for finding in examine(system):
        findings.append(finding)
        if not options.json:
            print(f"{finding.state:<8} {visible(finding.name)}: {visible(finding.said)}", flush=True)
            if finding.remedy:
                print(f"{'':<8} -> {visible(finding.remedy)}", flush=True)
    if options.report is not None:
        files.write_bytes(options.report, report(findings, system).encode())
    if options.json:
        print(json_text(to_json(findings), indent=2))
    return 0 if is_well(findings) else WRONG


def _broken_numpy() -> dict[str, str] | None:
    """The finding that numpy cannot be imported, without which nothing else can be looked at; None where it can."""
    from multigraft.installing import how_missing, install_package, repair

    try:
        import numpy  # noqa: F401
    except Exception as error:
        said = f"{how_missing(error)}; nothing else was looked at"
        remedy = repair(error, install_package("numpy", anew=True))
        return {"name": "numpy", "state": "wrong", "said": said, "remedy": remedy}
    return None
