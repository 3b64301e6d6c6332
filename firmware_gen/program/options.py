"""Options of operators as the numbers they are, whatever a file says."""

from __future__ import annotations

import math

from multigraft.errors import InputError


def integer(option: object, default: int = 0) -> int:
    """An operator option as int.

    Raises:
        InputError: It is none.
    """
    if option is None:
        return default
    if not isinstance(option, int):
        raise InputError(f"an operator's option is {option!r}, not an integer", "convert the model again")
    return option


def number(option: object, default: float) -> float:
    """An operator option as a finite float.

    Raises:
        InputError: It is none.
    """
    if option is None:
        return default
    if not isinstance(option, (int, float)) or not math.isfinite(option):
        raise InputError(f"an operator's option is {option!r}, not a finite number", "convert the model again")
    return float(option)
