"""Which stores' releases a statistics file is made of, so that no store is counted twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ID = re.compile(r"[0-9a-f]{16}")
MOST = 1 << 32
"""Releases of a store, and frames of one, are fewer."""


@dataclass(frozen=True)
class Release:
    """One export of a store.

    Attributes:
        number: 1 for the first; each has all frames of the one before.
        frames: Frames in it.
    """

    number: int
    frames: int


def is_store_id(text: str) -> bool:
    """Whether ``text`` may name a store."""
    return _ID.fullmatch(text) is not None


Releases = Mapping[str, Release]
"""Store id (16 hex digits) to the release of it."""


def releases_to_json(releases: Releases) -> dict[str, Any]:
    """Plain data for a manifest."""
    return {store: {"number": r.number, "frames": r.frames} for store, r in sorted(releases.items())}


def releases_from_json(data: Any) -> dict[str, Release]:
    """Read what :func:`releases_to_json` gave.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(data, dict):
        raise ValueError("releases have to be a table")
    releases = {}
    for store, entry in data.items():
        fields = [entry.get(name) for name in ("number", "frames")] if isinstance(entry, dict) else []
        numbers = [n for n in fields if type(n) is int and 0 < n < MOST]
        if not is_store_id(store) or len(numbers) != 2:
            raise ValueError("a release has to have a store, a number and frames")
        releases[store] = Release(*numbers)
    return releases


def releases_apart(larger: Releases, smaller: Releases) -> int | None:
    """Frames that whoever holds two files gets by subtracting one from the other.

    Args:
        larger: What one file is made of.
        smaller: What the other is made of.

    Returns:
        None where the difference is no sum over frames: ``smaller`` has a store, or a release, that is not within
        ``larger``. 0 where both are of the same.
    """
    if any(store not in larger or larger[store].number < r.number for store, r in smaller.items()):
        return None
    return sum(r.frames for r in larger.values()) - sum(r.frames for r in smaller.values())
