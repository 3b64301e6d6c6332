"""Files of several runs added up, no store twice, and what somebody who has several files can subtract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multigraft.errors import InputError, UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.release import releases_apart
from multigraft.statistics.statistics import Statistics, combine

_ONCE = "combine the files that collect wrote, of each store its newest"


@dataclass(frozen=True)
class Combination:
    """What came of it.

    Attributes:
        statistics: The sum.
        used: Files that count.
        apart: Sentences: which sums can be told apart, and which files do not count.
    """

    statistics: Statistics
    used: tuple[Path, ...]
    apart: tuple[str, ...]


def combine_files(paths: Sequence[Path], output: Path | None = None) -> Combination:
    """Add up files. Of a store that several are releases of, the newest counts alone.

    Args:
        paths: Statistics files, each once.
        output: The file that the sum will replace, if it is there: it can be told apart from what it was.

    Raises:
        UsageError: A file is named twice or has a copy, a store is in two sums, or two files claim one release.
        InputError: One is no statistics file.
    """
    resolved = [path.resolve() for path in paths]
    if twice := next((p for p, r in zip(paths, resolved, strict=True) if resolved.count(r) > 1), None):
        raise UsageError(f"{twice} is named twice", "name each file once, else its frames count twice")
    parts: dict[Path, Statistics] = {}
    apart: list[str] = []
    for path in paths:
        new = statistics_file.read(path)
        for old_path, old in list(parts.items()):
            if not (new.releases.keys() & old.releases.keys()):
                if not new.releases and new == old:
                    raise UsageError(f"{path} and {old_path} hold the same", "name one, else its frames count twice")
                continue
            apart.append(_newest(parts, (old_path, old), (path, new)))
        if not any(new.releases.keys() & old.releases.keys() for old in parts.values()):
            parts[path] = new
    whole = combine(parts.values())
    apart += told_apart(whole, len(parts), min(part.frames for part in parts.values()), output)
    return Combination(whole, tuple(parts), tuple(apart))


def told_apart(whole: Statistics, parts: int, least: int, output: Path | None) -> list[str]:
    """Sentences: which sums can be told apart by whoever has a sum and its parts.

    Args:
        whole: The sum.
        parts: How many files it is of.
        least: Frames of the smallest.
        output: The file that the sum will replace, if it is there.
    """
    apart = []
    if parts > 1:
        apart.append(
            f"whoever has the sum and all files but one can tell that one apart: the smallest is of {least:,} frames"
        )
    if whole.noise is not None:
        apart.append(f"the sum says of its noise: {whole.noise.sentence(whole.frames)}")
    return apart if output is None else apart + _before(output, whole)


def _newest(parts: dict[Path, Statistics], old: tuple[Path, Statistics], new: tuple[Path, Statistics]) -> str:
    """Keep the newer of two releases of one store in ``parts``; what is to be said."""
    (old_path, first), (new_path, second) = old, new
    store = min(first.releases.keys() & second.releases.keys())
    if len(first.releases) > 1 or len(second.releases) > 1:
        raise UsageError(f"{old_path} and {new_path} both hold frames of store {store}", _ONCE)
    numbers = first.releases[store].number, second.releases[store].number
    if numbers[0] == numbers[1]:
        if first != second:
            raise UsageError(
                f"{old_path} and {new_path} both say that they are release {numbers[0]} of store {store}, and differ",
                "its store was copied: combine one of them, and collect anew",
            )
        return f"{new_path} is the same release as {old_path} and counts once"
    if numbers[1] > numbers[0]:
        del parts[old_path]
    newer, older = (second, first) if numbers[1] > numbers[0] else (first, second)
    return (
        f"{old_path} and {new_path} are releases {numbers[0]} and {numbers[1]} of one store: release {max(numbers)} "
        f"counts, and whoever has both can tell the {newer.frames - older.frames:,} frames between them apart"
    )


def _before(output: Path, whole: Statistics) -> list[str]:
    """What the file that is replaced shows together with the new one."""
    if not output.is_file():
        return []
    try:
        replaced = statistics_file.read(output)
    except InputError:
        return []
    shared = replaced.releases.keys() & whole.releases.keys()
    if not shared or replaced.releases == whole.releases:
        return []
    for larger, smaller in ((whole, replaced), (replaced, whole)):
        frames = releases_apart(larger.releases, smaller.releases)
        if frames is not None:
            return [f"whoever kept {output} as it was can tell {frames:,} frames apart, the difference of the two"]
    return [f"whoever kept {output} as it was can subtract {len(shared)} stores that both hold from the new one"]
