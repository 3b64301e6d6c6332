"""Addresses of network cameras as they may be shown: without what lets others in."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


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
