"""The files of a deployed bundle: read and verified anew whenever they are asked for, so that none stays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from multigraft import files
from multigraft.bundle.manifest import FileEntry
from multigraft.errors import BundleError, InputError
from multigraft.reading import printable, read_file


class UnpackedFiles(Mapping[str, bytes]):
    """Name to content.

    Args:
        folder: Where they lie.
        entries: What the manifest says of them.
        shown: Names the bundle in errors.
        called: Names of those that are called otherwise in the folder, to what they are called there.
    """

    def __init__(
        self, folder: Path, entries: Mapping[str, FileEntry], shown: str, called: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.shown = shown
        self._entries = dict(entries)
        self._called = dict(called or {})

    def path_of(self, name: str) -> Path:
        """Where a file lies."""
        return self.folder / self._called.get(name, name)

    def __getitem__(self, name: str) -> bytes:
        """A file's content.

        Raises:
            BundleError: It is not what was built.
            KeyError: The bundle has no such file.
        """
        entry = self._entries[name]
        path = self.path_of(name)
        try:
            size = path.stat(follow_symlinks=False).st_size
        except OSError:
            size = -1
        return verified(self.shown, self._called.get(name, name), entry, size, lambda: read_in_folder(path, entry.size))

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def read_in_folder(path: Path, most: int) -> bytes:
    """A regular file of a bundle's folder.

    Raises:
        BundleError: It cannot be read.
    """
    try:
        return read_file(path, most, links=False)
    except InputError as error:
        raise BundleError(error.problem, error.remedy) from error


def verified(shown: str, name: str, entry: FileEntry, size: int, read: Callable[[], bytes]) -> bytes:
    """The bytes of a bundle's file, of the size and digest that the manifest says.

    Args:
        shown: Of which bundle, in words.
        name: The file.
        entry: What the manifest says of it.
        size: What it has, -1 where it is not there.
        read: Reads it.

    Raises:
        BundleError: It is not there, or differs.
    """
    if size < 0:
        raise BundleError(f"{shown} lacks {printable(name)}", "copy it again or build it again")
    data = read() if size == entry.size else b""
    if len(data) != entry.size or files.sha256_of(data) != entry.sha256:
        raise BundleError(
            f"{shown}: {name} is not what was built: {size} bytes with another SHA-256 digest",
            "copy the bundle again or build it again",
        )
    return data
