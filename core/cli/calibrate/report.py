"""``multigraft calibrate report``: one HTML page of a statistics file."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument("file", type=Path, metavar="NAME.mgstats", help="the statistics")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="report.html", help="the page to write")
    parser.add_argument("--title", help="title of the page (default: the file's name)")


def execute(options: argparse.Namespace) -> int:
    """Write the page and print its suggestions."""
    from multigraft.converters.field.drift import find_drift
    from multigraft.converters.report.field_report import suggestions, write_report
    from multigraft.statistics import statistics_file

    statistics = statistics_file.read(options.file)
    write_report(statistics, options.output, options.title or options.file.name.removesuffix(".mgstats"))
    advice = suggestions(statistics, find_drift(statistics))
    if options.json:
        print(json_text({"output": str(options.output), "frames": statistics.frames, "suggestions": advice}))
    else:
        print("\n".join([str(options.output), *advice]))
    return 0
