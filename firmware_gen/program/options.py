"""Options of operators as the numbers they are."""

from __future__ import annotations


def integer(option: object, default: int = 0) -> int:
    """An operator option as int."""
    return default if option is None else int(option)  # type: ignore[call-overload]
