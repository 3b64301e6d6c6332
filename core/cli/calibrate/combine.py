"""``multigraft calibrate combine``: one file of several."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument("files", nargs="+", metavar="NAME.mgstats", help="in any order, each once")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="NAME.mgstats", help="the file to write")


def execute(options: argparse.Namespace) -> int:
    """Add up and write."""
    from multigraft.errors import UsageError
    from multigraft.statistics import statistics_file
    from multigraft.statistics.statistics import combine

    paths = [Path(name).resolve() for name in options.files]
    if twice := next((p for p in paths if paths.count(p) > 1), None):
        raise UsageError(f"{twice} is named twice", "name each file once, else its frames count twice")
    fleet = combine(statistics_file.read(path) for path in paths)
    statistics_file.write(fleet, options.output)
    result = {"output": str(options.output), "frames": fleet.frames, "files": len(paths), "sites": list(fleet.sites)}
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{options.output}: {fleet.frames:,} frames of {len(paths)} files, sites {', '.join(fleet.sites)}")
    return 0
