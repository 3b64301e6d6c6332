"""Files of unknown senders are read within bounds: regular files only, of a stated size at most, and plain text."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from multigraft.errors import InputError
from multigraft.visible import visible

LARGEST_JSON = 64 << 20
"""Bytes of a file that lists what a large network has, once a layer and once a plan."""
MOST_DEPTH = 64
"""Levels of lists and tables within each other."""
_SHOWN = 120


class UnreadableError(ValueError):
    """Content is not what it has to be; the text completes "FILE is damaged (...)"."""


def printable(text: str) -> str:
    """``text`` for a message: no control characters, no lone surrogates, not too long."""
    shown = visible(text[: _SHOWN + 1])
    return shown[:_SHOWN] + "…" if len(shown) > _SHOWN else shown


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """The error for what may not be read, with its permissions and who owns it as far as they can be seen."""
    try:
        found = Path(path).stat()
        rights = f" ({stat.filemode(found.st_mode)}, owned by user {found.st_uid})"
    except OSError:
        rights = ""
    shown = printable(os.fspath(path))
    return InputError(f"{shown} cannot be read: {error.strerror}{rights}", "check the path and its permissions")


@contextlib.contextmanager
def regular_file(path: str | os.PathLike[str], most: int | None = None, links: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file for reading; a pipe or a device would block or never end.

    Args:
        path: The file.
        most: Bytes it may have; None for any number.
        links: Follow a symbolic link at the end of the path.

    Raises:
        InputError: It is not there, is no regular file, cannot be opened, or is larger.
    """
    shown = printable(os.fspath(path))
    # Without O_NONBLOCK opening a pipe waits for its other end.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise InputError(f"{shown} does not exist", "check the path") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        # The path holds a zero byte.
        raise InputError(f"{shown} cannot be read: {error}", "check the path and its permissions") from error
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            why = os.strerror(errno.EISDIR) if stat.S_ISDIR(state.st_mode) else "it is no regular file"
            raise InputError(f"{shown} cannot be read: {why}", "check the path")
        if most is not None and state.st_size > most:
            raise InputError(f"{shown} has {state.st_size} bytes and may have {most}", "give a smaller file")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            yield opened
    finally:
        os.close(handle)


def read_file(path: str | os.PathLike[str], most: int, links: bool = True) -> bytes:
    """All bytes of a regular file.

    Args:
        path: The file.
        most: Bytes it may have.
        links: Follow a symbolic link at the end of the path.

    Raises:
        InputError: As :func:`regular_file`.
    """
    with regular_file(path, most, links) as opened:
        try:
            # As much as is asked for is allocated at once.
            size = os.fstat(opened.fileno()).st_size
            data = opened.read(size + 1)
        except OSError as error:
            shown = printable(os.fspath(path))
            raise InputError(f"{shown} cannot be read: {error.strerror}", "check the path and its disk") from error
    if len(data) > size:
        raise InputError(f"{printable(os.fspath(path))} grows while it is read", "copy it first")
    return data


def read_text(path: Path, most: int) -> str:
    """A UTF-8 text file, without the byte-order mark that some editors write.

    Raises:
        InputError: As :func:`regular_file`.
        UnicodeDecodeError: It is not UTF-8 text.
    """
    return read_file(path, most).decode("utf-8-sig").replace("\r\n", "\n")


def read_json(path: str | os.PathLike[str], most: int = LARGEST_JSON) -> Any:
    """A JSON file of an unknown sender.

    Raises:
        InputError: As :func:`regular_file`.
        UnreadableError: As :func:`parse_json`.
    """
    return parse_json(read_file(path, most))


def parse_json(raw: bytes | bytearray | memoryview) -> Any:
    """JSON of an unknown sender.

    Raises:
        UnreadableError: It is not JSON, is nested too deeply, or holds text that no file can hold.
    """
    try:
        value = json.loads(bytes(raw).decode("utf-8"))
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    _check_plain(value)
    return value


def _check_plain(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        inner: list[Any] = []
        for held in level:
            if isinstance(held, dict):
                inner.extend(held)
                inner.extend(held.values())
            elif isinstance(held, list):
                inner.extend(held)
            elif isinstance(held, str) and not held.isascii():
                try:
                    held.encode()
                except UnicodeEncodeError:
                    raise UnreadableError("it holds half of a character") from None
        if not inner:
            return
        level = inner
    raise UnreadableError("it is nested too deeply")
