"""A folder for intermediate files that goes away: at the end of the block, or else when the next job starts.

A process that is killed takes nothing with it, and a conversion leaves tens of megabytes. So every folder has a file
that its process has locked; the kernel lets the lock go with the process, and who starts next removes what nobody has
locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "multigraft-work-"
_LOCK = ".in-use"
_YOUNG_S = 60.0
"""A folder without a lock file may be one that another process is making at this moment, if it is this young."""


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Yield an empty folder in the system's folder for temporary files; what killed processes left there is removed.

    Raises:
        OSError: The folder cannot be made.
    """
    sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, (Path(name) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def sweep() -> None:
    """Remove this user's work folders whose process is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink():
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    try:
        lock = (folder / _LOCK).open("r+")
    except FileNotFoundError:
        if time.time() - folder.lstat().st_mtime > _YOUNG_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError if its process lives
        shutil.rmtree(folder, ignore_errors=True)
