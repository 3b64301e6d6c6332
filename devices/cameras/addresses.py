"""Addresses of network cameras, which may hold what lets others in: how they are shown, and read from a file."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from multigraft.errors import InputError
from multigraft.reading import printable, read_text

IN_FILE = "@"
"""Before the path of a file that holds a source."""
_LARGEST = 4096


def source_of(text: str) -> str:
    """A source as typed; of ``@FILE``, what stands in the file.

    Raises:
        InputError: The file cannot be read, or holds no source.
    """
    if not text.startswith(IN_FILE):
        return text
    path = Path(text.removeprefix(IN_FILE))
    try:
        lines = [line.strip() for line in read_text(path, _LARGEST).splitlines() if line.strip()]
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 1 or lines[0].startswith(IN_FILE) or not lines[0].isprintable():
        # What it holds may be secret, and is not told.
        raise InputError(
            f"{printable(str(path))} holds no source", "write one into it, as behind --source, and nothing else"
        )
    return lines[0]


def has_secret(text: str) -> bool:
    """Whether an address may let others in: it has a user, a password or a query."""
    return shown_address(text) != text


def shown_address(text: str) -> str:
    """A source as typed, without user, password and query where it is an address.

    All up to the last ``@`` is left out: a ``/`` in a password ends, by the rules of URLs, what belongs to the user.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    return scheme + separator + re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]


def host_of(text: str) -> str:
    """The machine that a source, as typed (``TASK=`` before it or not), is read from; "" of a file or a device."""
    _, separator, rest = shown_address(text).partition("://")
    try:
        return urlsplit(f"//{rest}").hostname or "" if separator else ""
    except ValueError:
        return ""
