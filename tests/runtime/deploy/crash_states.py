"""What a power cut may leave of a folder: every state that the syncs of a program allow, enumerated.

A program's operations on a folder are noted while it runs: audit events of Python, and ``os.fsync``. What a disk holds
at a moment is what was synced, and any subset of what was not: names may have come and gone or not, in any combination,
and the bytes of a file that was not synced may be there, half there or missing. File systems keep more order than that.
Renaming over a name is atomic, which all of them promise.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_SUBSETS = 48
"""Of pending operations, at one moment; beyond it they are drawn."""

Tree = dict[str, bytes | str | None]
"""Path to a file's bytes, a link's target, or None for a folder."""


@dataclass
class _Node:
    """A file (``now`` and ``safe``: its bytes), a link (``target``), or a folder (``names``: what is safe in it)."""

    now: bytes | None = None
    safe: bytes | None = None
    target: str | None = None
    names: dict[str, _Node] = field(default_factory=dict)
    seen: dict[str, _Node] = field(default_factory=dict)
    is_folder: bool = False


@dataclass
class _Change:
    """A name that leads to a node, or to nothing, in a folder; a rename takes another name away at once."""

    folder: _Node
    name: str
    node: _Node | None
    gone_from: tuple[_Node, str] | None = None


class Disk:
    """The state folder as the program sees it, what of it is safe, and what is pending."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = self._read(root)
        self.pending: list[_Change] = []
        self.states: dict[int, Tree] = {}
        self._random = random.Random(1)

    def _read(self, path: Path) -> _Node:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return _Node(target=str(path.readlink()))
        if not stat.S_ISDIR(found.st_mode):
            content = path.read_bytes()
            return _Node(now=content, safe=content)
        names = {child.name: self._read(child) for child in path.iterdir()}
        return _Node(names=names, seen=dict(names), is_folder=True)

    def _node(self, path: Path) -> _Node:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node.seen[part]
        return node

    def _change(self, path: Path, node: _Node | None, gone_from: Path | None = None) -> None:
        folder = self._node(path.parent)
        away = None
        if gone_from is not None:
            source = self._node(gone_from.parent)
            away = (source, gone_from.name)
            del source.seen[gone_from.name]
        if node is None:
            del folder.seen[path.name]
        else:
            folder.seen[path.name] = node
        self.pending.append(_Change(folder, path.name, node, away))

    def opened(self, path: Path) -> None:
        """A file was opened for writing; its bytes are read when it is synced, or at the next look."""
        if path.name not in self._node(path.parent).seen:
            self._change(path, _Node(now=b""))

    def made(self, path: Path) -> None:
        self._change(path, _Node(is_folder=True))

    def linked(self, path: Path, target: str) -> None:
        self._change(path, _Node(target=target))

    def removed(self, path: Path) -> None:
        if path.name in self._node(path.parent).seen:
            self._change(path, None)

    def renamed(self, source: Path, target: Path) -> None:
        self._change(target, self._node(source), source)

    def synced(self, path: Path) -> None:
        node = self._node(path)
        if not node.is_folder:
            node.now = node.safe = path.read_bytes()
            return
        left = []
        for change in self.pending:
            if change.folder is node or (change.gone_from and change.gone_from[0] is node):
                _apply(change, None)
            else:
                left.append(change)
        self.pending = left

    def look(self) -> None:
        """Note every state that a power cut at this moment may leave."""
        self._look_at_contents(self.top, self.root)
        count = len(self.pending)
        every = 1 << count
        chosen = range(every) if every <= MOST_SUBSETS else self._random.sample(range(every), MOST_SUBSETS)
        for mask, how in itertools.product({*chosen, 0, every - 1}, ("all", "half", "none")):
            views: dict[int, dict[str, _Node]] = {}
            for number, change in enumerate(self.pending):
                if mask >> number & 1:
                    _apply(change, views)
            tree: Tree = {}
            _list(self.top, "", views, how, tree)
            self.states.setdefault(hash(frozenset(tree.items())), tree)

    def _look_at_contents(self, node: _Node, path: Path) -> None:
        for name, child in node.seen.items():
            if child.is_folder:
                self._look_at_contents(child, path / name)
            elif child.target is None and child.safe is None:
                with contextlib.suppress(FileNotFoundError):
                    child.now = (path / name).read_bytes()


def _apply(change: _Change, views: dict[int, dict[str, _Node]] | None) -> None:
    """Make a change in a view of the safe names, or without ``views`` safe."""

    def names(folder: _Node) -> dict[str, _Node]:
        return folder.names if views is None else views.setdefault(id(folder), dict(folder.names))

    if change.gone_from is not None:
        names(change.gone_from[0]).pop(change.gone_from[1], None)
    if change.node is None:
        names(change.folder).pop(change.name, None)
    else:
        names(change.folder)[change.name] = change.node


def _list(node: _Node, path: str, views: dict[int, dict[str, _Node]], how: str, tree: Tree) -> None:
    for name, child in views.get(id(node), node.names).items():
        inner = f"{path}{name}"
        if child.is_folder:
            tree[inner] = None
            _list(child, f"{inner}/", views, how, tree)
        elif child.target is not None:
            tree[inner] = child.target
        elif child.safe is not None:
            tree[inner] = child.safe
        else:
            now = child.now or b""
            tree[inner] = {"all": now, "half": now[: len(now) // 2], "none": b""}[how]


def states_of(root: Path, program: Callable[[], Any]) -> list[Tree]:
    """Every state of a folder that a power cut at any moment of a program may leave, the last ones being after its end.

    Args:
        root: The folder, whose content is safe.
        program: Changes it, in this process.
    """
    disk = Disk(root)
    with _noted(disk):
        program()
    disk.look()
    return list(disk.states.values())


def states_after(root: Path, program: Callable[[], Any]) -> list[Tree]:
    """Those that a power cut after a program's end may leave."""
    disk = Disk(root)
    with _noted(disk):
        program()
    disk.states.clear()
    disk.look()
    return list(disk.states.values())


def write_tree(tree: Tree, root: Path) -> None:
    """Make a folder hold a state."""
    root.mkdir()
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


_disk: Disk | None = None
_is_hooked = False


@contextlib.contextmanager
def _noted(disk: Disk) -> Iterator[None]:
    global _disk, _is_hooked
    if not _is_hooked:
        # An audit hook stays until the process ends.
        sys.addaudithook(_hook)
        _is_hooked = True
    sync = os.fsync

    def noting(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        sync(descriptor)
        if path.is_relative_to(disk.root):
            disk.look()
            disk.synced(path)

    os.fsync = noting  # type: ignore[assignment]
    _disk = disk
    try:
        yield
    finally:
        _disk = None
        os.fsync = sync


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    disk = _disk
    if disk is None or event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink"):
        return
    if event == "open":
        name, _, flags = arguments
        path = _inside(disk, name, -1)
        if path is not None and flags & os.O_CREAT:
            _step(disk, functools.partial(disk.opened, path))
    elif event == "os.rename":
        source, target = _inside(disk, arguments[0], arguments[2]), _inside(disk, arguments[1], arguments[3])
        if source is not None and target is not None and os.path.lexists(source):
            _step(disk, functools.partial(disk.renamed, source, target))
    elif event == "os.symlink":
        path = _inside(disk, arguments[1], arguments[2])
        if path is not None and not os.path.lexists(path):
            _step(disk, functools.partial(disk.linked, path, os.fspath(arguments[0])))
    else:
        path = _inside(disk, arguments[0], arguments[-1])
        if path is not None and os.path.lexists(path) == (event != "os.mkdir"):
            _step(disk, functools.partial(disk.made if event == "os.mkdir" else disk.removed, path))


def _step(disk: Disk, change: Callable[[], None]) -> None:
    """The event comes before the operation: what is seen now is the state before it."""
    global _disk
    _disk = None
    try:
        disk.look()
        change()
    finally:
        _disk = disk


def _inside(disk: Disk, name: Any, folder: int) -> Path | None:
    if not isinstance(name, str | os.PathLike):
        return None
    path = Path(name)
    if not path.is_absolute():
        path = (Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()) / path
    return path if path != disk.root and path.is_relative_to(disk.root) else None
