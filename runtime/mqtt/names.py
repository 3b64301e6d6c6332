"""Names that anybody gave, as parts of topics and of unique ids."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
_MOST = 40
_OTHER = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """Small letters, digits and ``_``; different names give different ones, the same name always the same."""
    plain = _OTHER.sub("_", name.lower()).strip("_")[:_MOST]
    if plain and plain == name:
        return plain
    # A name that had to be changed could meet another one.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}_{digest}" if plain else digest


def node_of(state: Path, machine_id: Path = MACHINE_ID) -> str:
    """What a service on this machine is called, now and after every restart.

    Args:
        state: Its state folder: two services of one machine have two.
        machine_id: What tells machines apart (machine-id(5)), which must not be told to others as it is.
    """
    try:
        machine = machine_id.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    text = f"multigraft {machine or socket.gethostname()} {state.absolute()}"
    return f"multigraft_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
