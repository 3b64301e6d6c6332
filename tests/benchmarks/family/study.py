"""What predicts accuracy after sharing raw, after a refit and after thinning: CKA, agreement or size.

``python -m tests.benchmarks study`` makes relatives of the demo's networks in numpy, grafts and thins them, and prints
tables as Markdown. ``--points FILE`` keeps what was measured, and ``--plot FILE`` draws it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

from multigraft.converters.job.progress import terminal_report
from multigraft.files import whole_file
from tests.benchmarks.family.measure import Point, compared, grafts, pairs, thinned
from tests.benchmarks.family.members import members
from tests.benchmarks.family.picture import draw
from tests.benchmarks.family.poolings import print_tables


def run(arguments: Sequence[str]) -> None:
    """Measure what is not measured yet; print the tables and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks study", description=__doc__)
    parser.add_argument("--points", type=Path, help="JSON file of what was measured; an interrupted study goes on")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    parser.add_argument("--quick", action="store_true", help="fewer networks and pairs")
    parser.add_argument("--read", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    points = _read(options.points)
    if not options.read:
        _measure(points, options.points, options.quick)
    print_tables(points)
    if options.plot is not None:
        draw(points, options.plot)


def _measure(points: list[Point], path: Path | None, is_quick: bool) -> None:
    """Add what ``points`` lack, and write it pair by pair."""
    start, spent = time.monotonic(), time.process_time()
    had = {(p.donor, p.target) for p in points}
    with terminal_report() as report:
        report("tune relatives")
        made = members(is_quick)
        for m in made:
            print(f"{m.network.name}: of {m.family}, tuned: {m.degree}", flush=True)
        tables = compared(made, report)
        for donor, target in pairs(made, is_quick):
            if (donor.network.name, target.network.name) not in had:
                points += grafts(donor, target, tables, report)
                _write(points, path)
        for member in made:
            if member.degree in (None, "all") and ("", member.network.name) not in had:
                points += thinned(member, report)
                _write(points, path)
    print(f"{len(points)} points in {time.monotonic() - start:.0f} s, {time.process_time() - spent:.0f} of a processor")


def _read(path: Path | None) -> list[Point]:
    if path is None or not path.exists():
        return []
    return [Point(**record) for record in json.loads(path.read_text("utf-8"))]


def _write(points: Sequence[Point], path: Path | None) -> None:
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps([dataclasses.asdict(p) for p in points], indent=0), "utf-8")
