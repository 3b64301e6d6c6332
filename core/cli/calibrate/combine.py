"""``multigraft calibrate combine``: one file of several."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="NAME.mgstats", help="in any order, each once")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="NAME.mgstats", help="the file to write")


def execute(options: argparse.Namespace) -> int:
    """Add up, write, and say which sums can be told apart."""
    from multigraft.statistics import statistics_file
    from multigraft.statistics.combining import combine_files

    combined = combine_files(options.files, options.output)
    fleet = combined.statistics
    statistics_file.write(fleet, options.output)
    sites, files = list(fleet.sites), len(combined.used)
    if options.json:
        result = {
            "output": str(options.output), "frames": fleet.frames, "files": files, "sites": sites,
            "apart": list(combined.apart),
        }  # fmt: skip
        print(json_text(result))
    else:
        print(f"{options.output}: {fleet.frames:,} frames of {files} files, sites {', '.join(sites)}")
        for sentence in combined.apart:
            print(f"- {sentence}")
    return 0
