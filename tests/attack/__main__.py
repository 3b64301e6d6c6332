"""``make attack``: mutants of every kind of file that travels, through whatever opens it; a row for each kind.

python -m tests.attack [--only KIND] [--mutants N] [--seed N] [--unchecked] [--keep FOLDER] [MODEL.tflite ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.attack.boards import meetings
from tests.attack.campaigns import CAMPAIGNS
from tests.attack.tflite_campaigns import firmware, interpreters, models
from tests.attack.trials import HEAD, Row

TFLITE = 10_000
KINDS = ("tflite", "firmware", *CAMPAIGNS)
BOARDS = "boards"
"""Run last and with a table of its own."""


def chosen(options: argparse.Namespace) -> Sequence[str]:
    """The kinds that are asked for; with files of one's own what reads such files."""
    named: list[str] | None = options.only
    return named or ((*KINDS, BOARDS) if not options.models else KINDS[:2])


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Each kind in turn."""
    files = models(options.models)
    wanted: int | None = options.mutants
    for kind in chosen(options):
        if kind == BOARDS:
            continue
        if kind == "tflite":
            yield from interpreters(files, wanted or TFLITE, options.seed, options.unchecked, options.keep)
            continue
        with tempfile.TemporaryDirectory() as folder:
            # What a mutant that ends badly leaves in the folder for temporary files goes with it.
            tempfile.tempdir = folder
            made = firmware(files, TFLITE) if kind == "firmware" else CAMPAIGNS[kind](Path(folder))
            yield made.run(wanted, options.seed, options.keep)
            tempfile.tempdir = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, help="instead of those that the tests build")
    parser.add_argument("--only", action="append", choices=(*KINDS, BOARDS), help="this kind; may be given again")
    parser.add_argument("--mutants", type=int, help="of each kind, in place of what stands for it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--unchecked", action="store_true", help="give every .tflite mutant to the interpreters: what the check is for"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that ended badly")
    options = parser.parse_args()
    # What no command foresaw is to be seen as what it is.
    os.environ["MULTIGRAFT_DEBUG"] = "1"
    print(HEAD, flush=True)
    bad = 0
    for row in rows(options):
        print(row, flush=True)
        bad += row.bad
    if BOARDS in chosen(options):
        bad += meetings.campaign(seed=options.seed)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
