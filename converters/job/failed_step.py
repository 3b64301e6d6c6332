"""A step that a finished result does not need, and what is said where it fails."""

from __future__ import annotations

import os
import traceback

from multigraft.errors import MultigraftError


def reason_of(error: Exception) -> str:
    """The error in one line, without a full stop; with ``MULTIGRAFT_DEBUG=1`` the traceback is printed, too."""
    if os.environ.get("MULTIGRAFT_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, MultigraftError):
        return str(error).rstrip(".")
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
