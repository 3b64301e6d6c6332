"""Dataclass fields that carry their own documentation, from which pages in ``docs/`` are made."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def documented_field(meaning: str, **default: Any) -> Any:
    """A dataclass field with a one-sentence meaning; ``default`` as for :func:`dataclasses.field`."""
    made: Any = field(metadata={"doc": meaning}, **default)
    return made
