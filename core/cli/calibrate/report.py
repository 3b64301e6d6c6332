"""``multigraft calibrate report``: one HTML page of a statistics file."""

from __future__ import annotations

import argparse

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument("file", metavar="NAME.mgstats", help="the statistics, a file or an address such as s3://")
    parser.add_argument("-o", "--output", required=True, metavar="report.html", help="the page to write, the same")
    parser.add_argument("--title", help="title of the page (default: the file's name)")


def execute(options: argparse.Namespace) -> int:
    """Write the page and print its suggestions."""
    from multigraft.converters.field.drift import find_drift
    from multigraft.converters.field.statistics_input import StatisticsInput
    from multigraft.converters.report.field_report import suggestions, write_report

    given = StatisticsInput.open(options.file)
    statistics = given.statistics
    write_report(statistics, options.output, options.title or given.name.removesuffix(".mgstats"))
    advice = suggestions(statistics, find_drift(statistics))
    if options.json:
        print(json_text({"output": options.output, "frames": statistics.frames, "suggestions": advice}))
    else:
        print("\n".join([options.output, *advice]))
    return 0
