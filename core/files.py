"""Files are written whole or not at all: a temporary file beside the target, synced, then renamed over it.

The folder is synced after that: until then a power cut may bring back what was there before. A process that is killed
leaves its temporary file. It had locked it, and the kernel lets the lock go with the process: whoever writes into that
folder next removes what nobody has locked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from multigraft.errors import MultigraftError, UsageError

_SUFFIX = ".part"
_TEMPORARY = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
"""What ``tempfile`` makes of the names below."""
_swept: set[Path] = set()
"""Folders that this process has looked through."""
_umask_lock = threading.Lock()


@contextlib.contextmanager
def whole_file(target: str | os.PathLike[str], private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it over ``target`` if the block succeeds, else remove it.

    Args:
        target: The file.
        private: At no moment may anybody else read it.

    Raises:
        UsageError: The folder of ``target`` does not exist, is not writable, or ``target`` is a folder.
    """
    target = Path(target)
    if target.is_dir():
        raise UsageError(f"{target} is a folder", "name a file")
    _sweep_once(target.parent)
    try:
        temporary, handle = _temporary_file(target)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", "choose an existing folder you may write"
        ) from error
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        if not private:
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        # A write to a full disk does not say which file it was for.
        if error.filename is None and not isinstance(error, MultigraftError):
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; it becomes ``target`` if the block succeeds, else it is removed.

    Args:
        target: Does not exist yet.

    Raises:
        UsageError: It cannot be made.
    """
    _sweep_once(target.parent)
    try:
        temporary, handle = temporary_folder(target.parent, f".{target.name}.", _SUFFIX)
    except OSError as error:
        raise UsageError(f"{target} cannot be made: {error.strerror}", "choose another folder") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def write_bytes(target: str | os.PathLike[str], data: bytes, private: bool = False) -> None:
    """Write ``data`` to ``target`` whole or not at all; if it is private, for nobody else to read."""
    with whole_file(target, private) as temporary:
        temporary.write_bytes(data)


def _umask() -> int:
    # It can only be read by setting it: a second thread would read, and leave, what the first has set meanwhile.
    with _umask_lock:
        umask = os.umask(0)
        os.umask(umask)
    return umask


def _temporary_file(target: Path) -> tuple[Path, int]:
    while True:
        handle, name = tempfile.mkstemp(_SUFFIX, f".{target.name}.", target.parent)
        if _is_held(handle):
            return Path(name), handle
        os.close(handle)


def temporary_folder(parent: Path, prefix: str, suffix: str = "") -> tuple[Path, int]:
    """A new folder that :func:`left_in` does not give until the handle is closed.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        path = Path(tempfile.mkdtemp(suffix, prefix, parent))
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _is_held(handle):
            return path, handle
        os.close(handle)


def _is_held(handle: int) -> bool:
    """Lock a temporary file for as long as it is open; False if another process has removed it just before.

    Where files cannot be locked nobody can tell that it is left, and it is never removed.
    """
    with contextlib.suppress(OSError):
        _lock(handle, waits=True)
    return os.fstat(handle).st_nlink > 0


def _lock(handle: int, waits: bool) -> None:
    if os.name != "posix":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))


def _sweep_once(folder: Path) -> None:
    folder = folder.absolute()
    if folder not in _swept:
        _swept.add(folder)
        for path in left_in(folder, _TEMPORARY):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def left_in(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    """Temporary files and folders of such names and of this user whose process is gone; each is locked meanwhile."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if not pattern.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):
                handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    found = os.fstat(handle)
                    if found.st_uid == os.getuid() and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                        _lock(handle, waits=False)
                        yield Path(entry.path)
                finally:
                    os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # A folder may be writable and not readable.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sha256_of(data: bytes | bytearray | memoryview) -> str:
    """Hex SHA-256 digest of ``data``."""
    return hashlib.sha256(data).hexdigest()
