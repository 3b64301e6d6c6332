"""multigraft: several trained networks grafted onto one shared trunk, for small devices."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multigraft.bundle.bundle import Bundle
    from multigraft.bundle.manifest import Manifest
    from multigraft.errors import MultigraftError

__version__ = "0.1.0"
__all__ = ["Bundle", "Manifest", "MultigraftError", "__version__"]

_HOMES = {
    "Bundle": "multigraft.bundle.bundle",
    "Manifest": "multigraft.bundle.manifest",
    "MultigraftError": "multigraft.errors",
}
"""Loaded on first use, so that ``multigraft --version`` and ``--help`` need not import numpy."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
