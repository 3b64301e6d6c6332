"""Files on a file system of fsspec's: through its own listing, with a word on what cannot be looked into.

Of what its walk may not list fsspec says nothing, as if it were empty. Stores of objects have no folders, so there it
does not matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from multigraft.errors import one_line

Info = Mapping[str, Any]

_NOT_THERE = (FileNotFoundError, NotADirectoryError)


class RemoteFiles:
    """Files that a path, a folder or a pattern names.

    Args:
        system: File system.
        path: Path or pattern there.
        is_pattern: Whether it is one.
        patiently: Gives what a function gives, which is called again where that may help.

    Attributes:
        found: Path to what the system says of it.
        problems: Path to the reason, of what could not be looked into. Folders end in a slash.
    """

    def __init__(self, system: Any, path: str, is_pattern: bool, patiently: Callable[[Callable[[], Any]], Any]) -> None:
        self.problems: dict[str, str] = {}
        self._system, self._patiently = system, patiently
        # What another process has put there since this one listed it.
        system.invalidate_cache()
        with self._watched(path):
            listed = patiently(lambda: system.glob(path, detail=True) if is_pattern else system.find(path, detail=True))
        # Of a path that is a file some walks say no more than its name.
        self.found = {name: info or patiently(lambda: system.info(path)) for name, info in listed.items()}
        for name, info in list(self.found.items()):
            if info.get("type") == "link" or info.get("islink"):
                self._follow(name)

    @contextlib.contextmanager
    def _watched(self, top: str) -> Iterator[None]:
        """Note the folders that the walk of a system with folders may not list."""
        if self._system.async_impl or "ls" in vars(self._system):
            yield
            return
        listed = self._system.ls

        def ls(path: str, *options: Any, **more: Any) -> Any:
            if path.rstrip("/") == top.rstrip("/") and not self._system.isdir(path):
                # No folder: some fail here, and are asked for the file then.
                return listed(path, *options, **more)
            try:
                return self._patiently(lambda: listed(path, *options, **more))
            except _NOT_THERE:
                raise
            except OSError as error:
                self.problems[f"{path.rstrip('/')}/"] = f"the folder cannot be listed: {_reason(error)}"
                raise

        self._system.ls = ls
        try:
            yield
        finally:
            del self._system.ls

    def _follow(self, name: str) -> None:
        try:
            info = self._patiently(lambda: self._system.info(name))
        except FileNotFoundError:
            self.problems[name] = "it is a link that leads nowhere"
        except OSError as error:
            self.problems[name] = f"it cannot be looked at: {_reason(error)}"
        else:
            if info.get("type") == "directory":
                self.problems[f"{name}/"] = "links to folders are not followed there: name what it leads to"
            self.found[name] = {**info, "name": name}


def _reason(error: OSError) -> str:
    return error.strerror or one_line(error)
