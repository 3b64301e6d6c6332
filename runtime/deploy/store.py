"""The state folder: unpacked bundles by digest, and the links that say which one is served::

    bundles/<SHA-256 of the .graft file>/    a bundle's files, as Bundle.deploy unpacks them
    current -> bundles/<digest>              what is served
    previous -> bundles/<digest>             what is served if that one fails
    trial.json                               how the current one does: multigraft.runtime.deploy.trial

Nothing under ``bundles/`` changes once it has its name. A link is switched by renaming another over it, and everything
is on the disk before a name leads to it: a power cut at any moment leaves links that lead to whole bundles.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from multigraft import files
from multigraft.bundle.bundle import Bundle
from multigraft.errors import BundleError, UsageError
from multigraft.reading import printable

CURRENT = "current"
PREVIOUS = "previous"
_BUNDLES = "bundles"
_LOCK = "lock"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def state_folder(asked: Path | None = None) -> Path:
    """The state folder: what was asked for, what systemd gives a service, or the user's own.

    Raises:
        UsageError: The user has no home folder.
    """
    if asked is not None:
        return asked
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "multigraft"
    except RuntimeError as error:
        raise UsageError("this user has no home folder to keep bundles in", "name one with --state") from error


def current(state: Path) -> Path | None:
    """The folder of the bundle to serve, None where none was deployed; it is not opened here.

    Reading it costs a microsecond: a service that looks now and then sees when another bundle was deployed.
    """
    return _linked(state, CURRENT)


def switch_of(state: Path) -> tuple[int, int] | None:
    """What tells one switch to a bundle from the next, to the same one, too; None where none was deployed."""
    try:
        link = (state / CURRENT).lstat()
    except OSError:
        return None
    return link.st_ino, link.st_mtime_ns


def previous(state: Path) -> Path | None:
    """The folder of the bundle to serve where the current one fails, None where there is none."""
    return _linked(state, PREVIOUS)


def bundle_folder(state: Path, digest: str) -> Path:
    """Where a bundle of that digest lies; its name is the digest."""
    return state / _BUNDLES / digest


def is_whole(folder: Path) -> bool:
    """Whether a bundle lies there with every file of the size and digest that its manifest says."""
    try:
        Bundle.open(folder)
    except BundleError:
        return False
    return True


def put(state: Path, digest: str, bundle: Bundle) -> Path:
    """Unpack a bundle under its digest, if it is not there whole already.

    Args:
        state: The state folder; it is made.
        digest: SHA-256 of the .graft file, in hexadecimal digits.
        bundle: Read from that file.

    Raises:
        UsageError: The state folder cannot be written.
        OSError: The disk is full.
    """
    folder = bundle_folder(state, digest)
    make_state(state)
    if folder.is_dir():
        if is_whole(folder):
            return folder
        shutil.rmtree(folder)
    return bundle.deploy(folder)


def make_state(state: Path) -> None:
    """Make the state folder.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        new = state
        while not new.exists():
            new = new.parent
        (state / _BUNDLES).mkdir(parents=True, exist_ok=True)
        for folder in (state / _BUNDLES).relative_to(new).parts:
            files.sync_folder(new)
            new = new / folder
    except OSError as error:
        raise UsageError(
            f"the state folder {printable(str(state))} cannot be made: {error.strerror}",
            "name another with --state, or run this as the user that the service has",
        ) from error


def link(state: Path, name: str, target: Path) -> None:
    """Let ``current`` or ``previous`` lead to a bundle's folder, by one rename that is on the disk afterwards.

    The caller holds the state (:func:`locked`).

    Raises:
        OSError: The state folder cannot be written; the link leads where it led.
    """
    temporary = state / f".{name}.link"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(Path(_BUNDLES) / target.name)
        temporary.replace(state / name)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(state)


def unlink(state: Path, name: str) -> None:
    """Remove a link, if it is there."""
    (state / name).unlink(missing_ok=True)
    files.sync_folder(state)


def prune(state: Path, kept: Collection[str], most: int) -> list[str]:
    """Remove bundles beyond current, previous, and the latest that were unpacked.

    A service that still maps a file of a removed bundle keeps it until it ends.

    Args:
        state: The state folder.
        kept: Digests that stay.
        most: How many further ones stay.

    Returns:
        The digests that are gone.
    """
    linked = {folder.name for folder in (current(state), previous(state)) if folder is not None}
    others = [path for path in bundles(state) if path.name not in linked and path.name not in kept]
    gone = []
    for path in others[most:]:
        # The name goes first: what is half removed is not taken for a bundle.
        doomed = path.with_name(f".{path.name}.gone")
        with contextlib.suppress(OSError):
            path.rename(doomed)
            gone.append(path.name)
    with contextlib.suppress(OSError):
        for left in (state / _BUNDLES).glob(".*.gone"):
            shutil.rmtree(left, ignore_errors=True)
    return gone


def bundles(state: Path) -> list[Path]:
    """The folders of all bundles there, the latest first."""
    try:
        found = [path for path in (state / _BUNDLES).iterdir() if _DIGEST.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


@contextlib.contextmanager
def locked(state: Path, name: str = _LOCK) -> Iterator[None]:
    """Hold the state against others of this machine; a process that ends or is killed lets go.

    Where the folder cannot be written nobody can change it either, and nothing is held.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            # For reading, which suffices for a lock: another user may have made the file.
            handle = os.open(state / name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _linked(state: Path, name: str) -> Path | None:
    try:
        target = str((state / name).readlink())
    except OSError:
        return None
    folder, _, digest = target.rpartition("/")
    return bundle_folder(state, digest) if folder == _BUNDLES and _DIGEST.fullmatch(digest) else None
