"""What a test expects to be there."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def some(value: T | None) -> T:
    """``value``, which has to be something."""
    assert value is not None
    return value
