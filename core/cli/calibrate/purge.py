"""``multigraft calibrate purge``: remove kept frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="NAME.mgstats", help="the output that collect was given, or its files"
    )
    parser.add_argument("--store", action="store_true", help="also remove the store, so that collecting starts anew")


def execute(options: argparse.Namespace) -> int:
    """Empty the folder of kept frames."""
    from multigraft.calibration.collect.collect_options import kept_folder_of, store_of
    from multigraft.calibration.collect.kept_frames import purge
    from multigraft.calibration.database import remove_database

    for file in options.files:
        folder = kept_folder_of(file)
        removed = purge(folder)
        if options.store:
            remove_database(store_of(file))
        if options.json:
            print(json_text({"folder": str(folder), "removed": removed}))
        else:
            print(f"{removed} frames removed from {folder}")
    return 0
