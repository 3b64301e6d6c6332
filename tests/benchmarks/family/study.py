"""What predicts accuracy after sharing raw, after a refit and after thinning: CKA, agreement or size.

``python -m tests.benchmarks study`` makes relatives of the demo's networks in numpy, grafts and thins them, and prints
tables as Markdown. ``--points FILE`` keeps what was measured, or reads it where it is there; ``--plot FILE`` draws.
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
from tests.benchmarks.family.measure import Point, grafts, thinned
from tests.benchmarks.family.members import members
from tests.benchmarks.family.picture import draw
from tests.benchmarks.family.poolings import print_tables


def run(arguments: Sequence[str]) -> None:
    """Measure, or read what was measured; print the tables and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks study", description=__doc__)
    parser.add_argument("--points", type=Path, help="JSON file of what was measured")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    options = parser.parse_args(arguments)
    if options.points is not None and options.points.exists():
        points = [Point(**record) for record in json.loads(options.points.read_text("utf-8"))]
    else:
        points = _measured()
        if options.points is not None:
            with whole_file(options.points) as temporary:
                temporary.write_text(json.dumps([dataclasses.asdict(p) for p in points], indent=0), "utf-8")
    print_tables(points)
    if options.plot is not None:
        draw(points, options.plot)


def _measured() -> list[Point]:
    start, spent = time.monotonic(), time.process_time()
    with terminal_report() as report:
        report("tune relatives")
        made = members()
        for m in made:
            print(f"{m.network.name}: {m.family}, tuned: {m.degree}", flush=True)
        points = grafts(made, report)
        alone = [m for m in made if m.degree in (None, "all")]
        points += thinned(alone, report)
    print(f"{len(points)} points in {time.monotonic() - start:.0f} s, {time.process_time() - spent:.0f} of a processor")
    return points
