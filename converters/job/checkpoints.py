"""What a long job has finished so far, on disk, so that the same command goes on where it was interrupted.

A step is known by the digest of everything it depends on, this package's code included: what no longer fits is done
again. Only success removes the steps: a refusal keeps them for the next try. What is never taken up again is bounded: a
folder holds at most :data:`MAX_BYTES`, and one that nobody has used for :data:`STALE_DAYS` goes when another job starts
beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from multigraft import files
from multigraft.errors import UsageError

MAX_BYTES = 2 << 30
"""Of one folder; the steps that were used longest ago make room. A build of two networks of MobileNetV2's size stores
about a quarter of it."""

STALE_DAYS = 14

SUFFIX = ".steps"

_DIGEST_BYTES = 32
_STEP = re.compile(r"[a-z_]+-[0-9a-f]{32}")
_DAY_S = 86_400

CODE_FOLDERS = (Path(files.__file__).parent, Path(__file__).parents[1])
"""``core`` and ``converters``; installed, the first holds every other package, too."""


class Checkpoints:
    """Finished steps in one folder, made when the first is stored.

    Args:
        folder: Beside what the job makes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reused = 0
        """How many steps were read instead of done."""

    def get(self, name: str, depends_on: Iterable[bytes | str], do: Callable[[], bytes]) -> bytes:
        """The stored result of a step, or else that of ``do``, which is stored.

        A result that was damaged on disk is done again; one that cannot be stored (a full disk) is returned all the
        same.

        Args:
            name: What kind of step it is.
            depends_on: Everything that decides its result.
            do: Does it.
        """
        key = hashlib.sha256(code_digest(CODE_FOLDERS))
        for part in depends_on:
            data = part.encode() if isinstance(part, str) else part
            key.update(len(data).to_bytes(8, "little") + data)
        path = self.folder / f"{name}-{key.hexdigest()[:32]}"
        if (stored := _read(path)) is not None:
            self.reused += 1
            with contextlib.suppress(OSError):
                os.utime(path)
            return stored
        made = do()
        with contextlib.suppress(OSError, UsageError):
            self.folder.mkdir(exist_ok=True)
            with _alone_in(self.folder):
                _make_room(self.folder, _DIGEST_BYTES + len(made))
                files.write_bytes(path, hashlib.sha256(made).digest() + made)
        return made

    @contextlib.contextmanager
    def cleared_on_success(self) -> Iterator[None]:
        """Remove the folder once the block is done; a refusal and an interruption keep it."""
        _sweep(self.folder)
        yield
        self.clear()

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other thread or process stores a step there: each would fill the room that another has made."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make_room(folder: Path, needed: int) -> None:
    """Remove the steps used longest ago until ``needed`` more bytes keep within :data:`MAX_BYTES`."""
    steps = []
    for step in folder.iterdir():
        # Without a lock another process may have removed it just now.
        with contextlib.suppress(FileNotFoundError):
            if _STEP.fullmatch(step.name):
                status = step.stat()
                steps.append((status.st_mtime, status.st_size, step))
    held = sum(size for _, size, _ in steps)
    for _, size, step in sorted(steps):
        if held + needed <= MAX_BYTES:
            break
        step.unlink(missing_ok=True)
        held -= size


def _sweep(folder: Path) -> None:
    """Remove the folders of steps beside ``folder`` that hold nothing but steps, all of them stale."""
    oldest = time.time() - STALE_DAYS * _DAY_S
    with contextlib.suppress(OSError):
        for other in folder.absolute().parent.glob(f"*{SUFFIX}"):
            if other.name == folder.name or other.is_symlink() or not other.is_dir():
                continue
            steps = list(other.iterdir())
            if all(_STEP.fullmatch(s.name) for s in steps) and all(
                used.stat().st_mtime < oldest for used in (other, *steps)
            ):
                shutil.rmtree(other, ignore_errors=True)


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


@functools.cache
def code_digest(folders: tuple[Path, ...]) -> bytes:
    """SHA-256 of all Python files of these folders and below, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        digest.update(path.read_bytes())
    return digest.digest()
