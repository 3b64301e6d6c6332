"""The files of many sites in a folder: most of them alike, some broken in ten ways, some of another camera."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from multigraft.cores import usable_cores
from multigraft.files import write_bytes
from tests.converters.fleet.fleet_files import BROKEN, OTHER_CAMERA, content

BROKEN_SHARE, STRANGE_SHARE = 0.03, 0.01
_BATCH = 50


@dataclass(frozen=True)
class SiteFiles:
    """Files of so many sites.

    Attributes:
        folder: Where they are.
        count: How many.
        broken: Names of files that may not count.
        strange: Sites with another camera.
    """

    folder: Path
    count: int
    broken: frozenset[str]
    strange: frozenset[str]

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each."""
        for number in range(self.count):
            yield _name(number), (self.folder / _name(number)).read_bytes()


def made(folder: Path, count: int) -> SiteFiles:
    """The files; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(0).sample(range(count), round(count * (BROKEN_SHARE + STRANGE_SHARE)))
    broken = drawn[: round(count * BROKEN_SHARE)]
    strange = set(drawn[len(broken) :])
    ways = {number: list(BROKEN)[i % len(BROKEN)] for i, number in enumerate(broken)}
    there = {path.name for path in folder.iterdir()}
    missing = [
        (folder, number, ways.get(number), number in strange) for number in range(count) if _name(number) not in there
    ]
    with ProcessPoolExecutor(usable_cores()) as pool:
        list(pool.map(_make, missing, chunksize=_BATCH))
    names = frozenset(map(_name, broken))
    return SiteFiles(folder, count, names, frozenset(f"site-{number:05}" for number in strange))


def prefix(count: int) -> str:
    """What the names of the first ``count`` files begin with, of a power of ten."""
    return "0" * (5 - len(str(count - 1)))


def _name(number: int) -> str:
    return f"{number:05}.mgstats"


def _make(task: tuple[Path, int, str | None, bool]) -> None:
    folder, number, way, is_strange = task
    data = BROKEN[way](number) if way else content(number, moved=OTHER_CAMERA if is_strange else 0.0)
    write_bytes(folder / _name(number), data)
