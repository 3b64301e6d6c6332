"""A folder of generated files: all of them take their places, or none does.

They are written into a folder of their own first, on the same file system, so that a full disk, a signal or a refusal
leaves what was there. Once all are there it says so, and they take their places one by one. What a killed process left
behind is finished by the next one if it was all there, and goes otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from multigraft.files import left_in, sync_folder, temporary_folder, write_bytes

_MARK = ".multigraft-new-"
_LEFT = re.compile(rf"{re.escape(_MARK)}[a-z0-9_]{{8}}")
_FILES, _COMPLETE = "files", "complete"


@contextlib.contextmanager
def whole_folder(target: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder; what the block writes there lies in ``target`` afterwards if it succeeds.

    Args:
        target: Made if it does not exist; files of the same names are replaced, others are left.
        last: The file that says that a folder is whole: it is taken away first and comes last.

    Raises:
        OSError: Nothing can be written there.
    """
    target = target.absolute()
    made = [p for p in (target, *target.parents) if not p.exists()]
    target.mkdir(parents=True, exist_ok=True)
    finish_left(target, last)
    try:
        folder, handle = temporary_folder(target, _MARK)
        try:
            staged = folder / _FILES
            staged.mkdir()
            yield staged
            write_bytes(folder / _COMPLETE, b"")
            _move(staged, target, last)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # what holds something stays
                path.rmdir()
    sync_folder(target)


def finish_left(target: Path, last: str) -> None:
    """Let files of a killed process take their places if all of them are there; remove what else it left.

    Args:
        target: The folder; it need not exist.
        last: As for :func:`whole_folder`.

    Raises:
        OSError: They cannot be moved.
    """
    for folder in left_in(target, _LEFT):
        if (folder / _COMPLETE).is_file():
            _move(folder / _FILES, target, last)
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(target: Path, before: list[str], now: set[str]) -> None:
    """Remove files of an earlier generation that no longer belong to it; names that lead out of ``target`` are left."""
    root = target.resolve()
    for name in sorted(set(before) - set(now)):
        path = target / name
        if ".." in PurePosixPath(name).parts or not path.resolve().is_relative_to(root) or path.is_dir():
            continue
        path.unlink(missing_ok=True)


def _move(staged: Path, target: Path, last: str) -> None:
    names = [p.relative_to(staged) for p in sorted(staged.rglob("*")) if p.is_file()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
    if (staged / last).exists():
        (target / last).unlink(missing_ok=True)
    for name in sorted(names, key=lambda n: str(n) == last):
        (staged / name).replace(target / name)
