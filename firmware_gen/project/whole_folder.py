"""A folder of generated files: all of them take their places, or none does.

They are written into a folder of their own first, on the same file system, so that a full disk, a signal or a refusal
leaves what was there. What a killed process left behind goes when the next one writes there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from multigraft.files import sync_folder

_MARK = ".multigraft-new-"
_LOCK = ".in-use"


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
    _sweep(target)
    try:
        with tempfile.TemporaryDirectory(prefix=_MARK, dir=target) as name, _in_use(Path(name)):
            staged = Path(name) / "files"
            staged.mkdir()
            yield staged
            _move(staged, target, last)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # what holds something stays
                folder.rmdir()
    sync_folder(target)


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
    (target / last).unlink(missing_ok=True)
    for name in sorted(names, key=lambda n: str(n) == last):
        (staged / name).replace(target / name)


@contextlib.contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Hold the lock by which :func:`_sweep` knows that the process lives; the kernel lets it go with the process."""
    with (folder / _LOCK).open("w") as lock:
        if os.name == "posix":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(target: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    for folder in target.glob(f"{_MARK}*"):
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
