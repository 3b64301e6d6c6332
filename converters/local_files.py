"""Files in folders of this machine: through links to folders, and with a word on what cannot be looked into."""

from __future__ import annotations

import collections
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

ANY_FOLDER = "**"
"""In a pattern: a folder and all below it."""

_PATTERN = re.compile(r"[*?\[]")


class LocalFiles:
    """Files that a pattern names.

    Args:
        folder: Where it begins.
        parts: Of the pattern, one a level, as a shell has them, and :data:`ANY_FOLDER`. Names that begin with a dot fit
            as others do.

    Attributes:
        problems: Path to the reason, of what could not be looked into; complete once all files are given. Folders end
            in a slash.

    Raises:
        ValueError: :data:`ANY_FOLDER` is part of a name.
    """

    def __init__(self, folder: Path, parts: Sequence[str]) -> None:
        if any(ANY_FOLDER in part and part != ANY_FOLDER for part in parts):
            raise ValueError(f"{ANY_FOLDER} has to stand alone between slashes")
        self._folder, self._parts = folder, parts
        self.problems: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, os.stat_result]]:
        for path in dict.fromkeys(self._fitting(self._folder, self._parts)):
            status = self._status(path)
            if status is not None and stat.S_ISREG(status.st_mode):
                yield str(path), status

    def _fitting(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first == ANY_FOLDER:
            for below in self._folders(folder):
                yield from self._fitting(below, rest)
        elif _PATTERN.search(first):
            fits = re.compile(fnmatch.translate(first)).match
            for path in self._listed(folder):
                if fits(path.name) and (not rest or self._is_folder(path)):
                    yield from self._fitting(path, rest)
        elif os.path.lexists(folder / first):
            yield from self._fitting(folder / first, rest)

    def _folders(self, folder: Path) -> Iterator[Path]:
        """The folder and all below it, each once: links come last, so that a folder goes by its own name."""
        seen: set[tuple[int, int]] = set()
        waiting, links = collections.deque([folder]), collections.deque[Path]()
        while waiting or links:
            here = waiting.popleft() if waiting else links.popleft()
            status = self._status(here)
            if status is None or (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            yield here
            for path in self._listed(here):
                if self._is_folder(path):
                    (links if path.is_symlink() else waiting).append(path)

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.problems[f"{folder}/"] = f"the folder cannot be listed: {error.strerror}"
            return []

    def _is_folder(self, path: Path) -> bool:
        status = self._status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _status(self, path: Path) -> os.stat_result | None:
        try:
            return path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                self.problems[str(path)] = "it is a link that leads nowhere"
        except OSError as error:
            self.problems[str(path)] = f"it cannot be looked at: {error.strerror}"
        return None
