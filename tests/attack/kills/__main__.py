"""Kills commands at random moments and runs them again; a table.

python -m tests.attack.kills [--kills N] [--seed N] [JOB ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attack.kills.jobs import JOBS
from tests.attack.kills.killing import Killer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}; all by default")
    parser.add_argument("--kills", type=int, default=60, help="of each job")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bad = 0
    print(f"{'':10}{'takes':>9}{'kills':>7}{'late':>7}{'equal':>7}{'problems':>10}")
    for name in options.jobs or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(JOBS[name], Path(folder), options.seed)
            for _ in range(options.kills):
                killer.kill()
        tally = killer.tally
        print(
            f"{name:10}{tally.seconds:7.1f} s{tally.kills:7}{tally.late:7}{tally.equal:7}{len(tally.problems):10}",
            flush=True,
        )
        for problem in tally.problems:
            print(f"  {problem}", flush=True)
        bad += len(tally.problems)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
