"""Files at addresses (``s3://``, ``gs://``, ``az://``, ``sftp://``) and here: listed, read, written.

Which package speaks a protocol, and where its credentials come from, is fsspec's and that package's own affair. What
is here takes neither.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from multigraft import files
from multigraft.converters.local_files import ANY_FOLDER, LocalFiles
from multigraft.converters.remote_files import RemoteFiles
from multigraft.errors import DeviceError, InputError, MissingDependencyError, MultigraftError, one_line
from multigraft.installing import how_missing, install_extra, install_package, repair
from multigraft.reading import printable, read_file, regular_file

TRIES = 8
"""How often a read is tried: of reads that fail one time in ten, one in 10**8 then fails."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Before the second try, and before any; each wait is twice the one before, less up to half of it by chance."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*(::|://)")
_PASSWORD = re.compile(r"(://[^/:@\s]*:)[^/\s]*@")
_PATTERN = re.compile(r"[*?\[]")
_PLAIN = re.compile(r"[\w./ @+=,~-]*")
_NO_ADDRESS = "its name means something else in an address; name it otherwise"
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors that another try does not change."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Entry:
    """A file as its store lists it.

    Attributes:
        url: Its address; of a file here its path.
        size: Bytes.
        version: What changes with its content, as far as the store says: its ETag, size and time, or all that it says.
        problem: Why it cannot be read, if the list says so already: also of folders, which end in a slash.
    """

    url: str
    size: int
    version: str
    problem: str = ""


class UnreachableError(InputError):
    """A file is listed and cannot be read now; later it may."""


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether it is an address and no path."""
    return isinstance(text, str) and _URL.match(text) is not None


def is_several(text: str) -> bool:
    """Whether it may name several files: an address, a pattern or a folder."""
    with contextlib.suppress(OSError):
        return is_url(text) or _PATTERN.search(text) is not None or Path(text).is_dir()
    return False


def masked(text: str) -> str:
    """``text`` without the passwords of addresses in it."""
    return _PASSWORD.sub(r"\1***@", text)


def shown(text: str) -> str:
    """``text`` for a message."""
    return printable(masked(text))


def address(text: str) -> str:
    """A path or address as :func:`find` gives it.

    Raises:
        InputError: It is none, or cannot be reached.
        MissingDependencyError: The package for its protocol is not installed.
    """
    if not is_url(text):
        return _path_here(text)
    system, path = _system(text)
    path = path.rstrip("/")
    return path if _is_here(system) else _addresses(system, text, path, path)(path)


def find(text: str, suffix: str) -> Iterator[Entry]:
    """The files that an address, a path, a pattern or a folder names, and what here could not be looked into.

    Args:
        text: ``s3://fleet/*.mgstats``, ``s3://fleet/2026-11/``, ``site-7.mgstats``.
        suffix: What names of files in a folder end in; a pattern's may end otherwise.

    Raises:
        InputError: There is none, or the place cannot be listed.
        MissingDependencyError: The package for its protocol is not installed.
    """
    try:
        found = list(_listed_there(text, suffix) if is_url(text) else _listed_here(_path_here(text), suffix))
    except (OSError, ValueError) as error:
        # Of paths here: of folders that may not be read, names that are too long, and patterns such as a**b.
        raise InputError(f"{shown(text)} cannot be listed: {shown(one_line(error))}", "check the path") from error
    if not found:
        raise InputError(f"{shown(text)} names no file", f"check the address; files of a folder end in {suffix}")
    yield from sorted(found, key=lambda entry: entry.url)


def _listed_there(text: str, suffix: str) -> Iterator[Entry]:
    system, path = _system(text)
    if _is_here(system):
        yield from _listed_here(path, suffix)
        return

    is_pattern = _PATTERN.search(path) is not None
    try:
        files_there = RemoteFiles(system, path, is_pattern, patiently)
    except Exception as error:
        raise _failed(f"{shown(text)} cannot be listed", error) from error
    found = files_there.found
    named = {
        name: info
        for name, info in found.items()
        if info.get("type") == "file" and (is_pattern or path in found or name.endswith(suffix))
    }
    if not named and not files_there.problems:
        return
    address_of = _addresses(system, text, path, min(named, default=path))
    for name, info in named.items():
        size, url = int(info.get("size") or 0), address_of(name)
        yield Entry(url, size, f"{size} {_version(info)}", "" if _leads_to(url, system, name) else _NO_ADDRESS)
    for name, problem in files_there.problems.items():
        yield Entry(address_of(name), 0, "", problem)


def _leads_to(url: str, system: Any, name: str) -> bool:
    """Whether an address names that file: of some systems a number sign or a question mark ends the path."""
    if _PLAIN.fullmatch(name):
        return True
    with contextlib.suppress(MultigraftError):
        return _system(url) == (system, name)
    return False


def _version(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified"):
        if info.get(key):
            return str(info[key])
    # Of a store that gives neither, whatever it gives besides; a read changes none of it.
    rest = sorted((key, repr(value)) for key, value in info.items() if key not in ("name", "time", "atime"))
    return files.sha256_of(repr(rest).encode())


def _path_here(text: str) -> str:
    path = Path(text)
    # As in a shell, of no user it is a name like any other.
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return os.path.normpath(path.absolute())


def _listed_here(text: str, suffix: str) -> Iterator[Entry]:
    path = Path(text)
    if path.is_dir():
        # What may not be read would count as empty.
        next(path.iterdir(), None)
        found = LocalFiles(path, (ANY_FOLDER, f"*{suffix}"))
    elif path.exists():
        found = LocalFiles(path, ())
    else:
        *parts, last = path.relative_to(path.anchor).parts
        found = LocalFiles(Path(path.anchor), (*parts, last, *(["*"] if last == ANY_FOLDER else [])))
    for file, status in found:
        yield Entry(file, status.st_size, f"{status.st_size} {status.st_mtime_ns}")
    for name, problem in found.problems.items():
        yield Entry(name, 0, "", problem)


def read(url: str, most: int, size: int | None = None) -> bytes:
    """All bytes of a file; a read that fails is tried again.

    Args:
        url: Address or path.
        most: Bytes it may have.
        size: Bytes it has, as its store lists it; None to ask the store.

    Raises:
        InputError: It is not there, cannot be read, or has more than ``most`` bytes.
        MissingDependencyError: The package for its protocol is not installed.
    """
    if not is_url(url):
        return read_file(url, most)
    system, path = _system(url)
    try:
        size = patiently(lambda: int(system.size(path))) if size is None else size
        if size <= most:
            # It may have grown since. Some stores refuse any range of an empty file.
            part = {"start": 0, "end": most + 1} if size else {}
            data = patiently(lambda: bytes(system.cat_file(path, **part)))
            size = len(data)
    except Exception as error:
        raise _failed(f"{shown(url)} cannot be read", error) from error
    if size > most:
        raise InputError(f"{shown(url)} has {size} bytes and may have {most}", "give a smaller file")
    return data


def read_start(entry: Entry, count: int) -> bytes:
    """The first ``count`` bytes of a file, or all if it has fewer; a read that fails is tried again.

    Raises:
        InputError: It is not there or cannot be read.
        MissingDependencyError: The package for its protocol is not installed.
    """
    if not is_url(entry.url):
        with regular_file(entry.url) as opened:
            return opened.read(count)
    if not entry.size:
        # Some stores refuse any range of an empty file.
        return b""
    system, path = _system(entry.url)
    try:
        return patiently(lambda: bytes(system.cat_file(path, start=0, end=min(count, entry.size))))
    except Exception as error:
        raise _failed(f"{shown(entry.url)} cannot be read", error) from error


def write(target: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, whole or not at all: here by renaming, elsewhere as one object.

    Raises:
        UsageError: The folder cannot be written.
        DeviceError: The place does not take it.
        MissingDependencyError: The package for its protocol is not installed.
    """
    if not is_url(target):
        files.write_bytes(target, data)
        return
    system, path = _system(str(target))
    try:
        patiently(lambda: system.pipe_file(path, data))
    except Exception as error:
        raise DeviceError(f"{shown(str(target))} cannot be written: {shown(one_line(error))}", "check it") from error


def patiently(do: Callable[[], Result]) -> Result:
    """What ``do`` gives; where it fails it is tried again, after waits that double."""
    for number in range(TRIES - 1):
        try:
            return do()
        except (*_FINAL, ImportError, MultigraftError, ValueError):
            raise
        except Exception as error:
            if "credentials" in str(error).lower():
                raise
        time.sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**number) * random.uniform(0.5, 1))
    return do()


def _system(text: str) -> tuple[Any, str]:
    """The file system of an address and the path in it."""
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise MissingDependencyError(
            f"{shown(text)} takes fsspec, which is {how_missing(error)}", repair(error, install_extra("fleet"))
        ) from error
    try:
        system, path = fsspec.url_to_fs(text)
    except ImportError as error:
        package = re.search(r"[Ii]nstall (\w+)", str(error))
        remedy = install_package(package[1]) if package else install_extra("fleet")
        raise MissingDependencyError(f"{shown(text)} takes a package: {shown(one_line(error))}", remedy) from error
    except ValueError as error:
        raise InputError(f"{shown(text)} is no address: {shown(one_line(error))}", "write s3://BUCKET/NAME") from error
    except Exception as error:
        # Some connect at once.
        raise _failed(f"{shown(text)} cannot be reached", error) from error
    return system, path


def _is_here(system: Any) -> bool:
    return "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol)


def _addresses(system: Any, text: str, path: str, name: str) -> Callable[[str], str]:
    """What gives the address of each file that was found.

    Args:
        system: File system.
        text: The address that was listed.
        path: Its path there.
        name: A file that was found.
    """

    def usual(name: str) -> str:
        return str(system.unstrip_protocol(name))

    if _is_here(system):
        return str
    try:
        if _system(usual(name)) == (system, name):
            return usual
    except MultigraftError:
        pass
    # Of some its protocol and path are not all: sftp://USER@HOST/PATH, simplecache::s3://PATH, zip://PATH::s3://FILE.
    first, mark, rest = text.partition("::")
    for given, after in ((text.rstrip("/"), ""), (first, mark + rest)):
        if given.endswith(path.rstrip("/")):
            before = given.removesuffix(path.rstrip("/"))
            return lambda name: f"{before}{name}{after}"
    return usual


def _failed(problem: str, error: Exception) -> MultigraftError:
    if isinstance(error, MultigraftError):
        return error
    if isinstance(error, FileNotFoundError):
        return InputError(f"{problem}: it is not there", "check the address")
    return UnreachableError(
        f"{problem}: {shown(one_line(error))}", "check the address, the network and the credentials"
    )
