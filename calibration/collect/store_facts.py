"""What the store holds beside sums, and how it is checked when it is read: a store may come from somebody else."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from multigraft.calibration.collect.frame_quality import CELLS
from multigraft.errors import InputError
from multigraft.reading import UnreadableError, parse_json

KEPT_NAME = re.compile(r"kept-[0-9]{8,20}\.(?:p[gp]m|npy)")
"""Names of files in the folder of kept frames: never a path."""

_MOST = 1 << 53
"""Beyond it float64 does not count."""


@dataclass(frozen=True)
class Kept:
    """A frame that was stored because it was asked for: file name, margin 0..1, Unix time in seconds, size."""

    file: str
    margin: float
    taken_s: float
    bytes: int


@dataclass(frozen=True)
class Cursor:
    """How far collecting has come.

    Attributes:
        source: Name of the source that was read last.
        frames_read: Frames read of it, also those that were not used.
        selection: State of the frame selection.
        active_s: Time spent collecting, seconds.
    """

    source: str = ""
    frames_read: int = 0
    selection: Any = None
    active_s: float = 0.0


def kept_from_row(row: list[Any], where: str) -> Kept:
    """A row of the list of kept frames.

    Args:
        row: File, margin, time and size, of the types of :class:`Kept`.
        where: What it was read from, for messages.

    Raises:
        InputError: It names what no collector would have written.
    """
    kept = Kept(*row)
    if (
        not KEPT_NAME.fullmatch(kept.file)
        or not math.isfinite(kept.margin + kept.taken_s)
        or not 0 <= kept.bytes < _MOST
    ):
        raise InputError(f"{where} lists a frame that no collector kept", "give another file")
    return kept


def cursor_from_json(text: str, where: str) -> Cursor:
    """The cursor of a store.

    Raises:
        InputError: It is none.
    """
    try:
        data = parse_json(text.encode())
        cursor = Cursor(**data)
    except (UnreadableError, TypeError, UnicodeEncodeError) as error:
        raise InputError(f"{where} is damaged: where collecting stood cannot be read", "give another file") from error
    is_sound = (
        isinstance(cursor.source, str)
        and type(cursor.frames_read) is int
        and 0 <= cursor.frames_read < _MOST
        and isinstance(cursor.active_s, int | float)
        and 0 <= cursor.active_s < _MOST
        and (cursor.selection is None or _is_selection(cursor.selection))
    )
    if not is_sound:
        raise InputError(f"{where} is damaged: where collecting stood makes no sense", "give another file")
    return cursor


def _is_selection(state: Any) -> bool:
    """Whether it is a state of :class:`multigraft.calibration.collect.selection.FrameSelector`."""
    if not isinstance(state, dict) or state.keys() != {"count", "signature"} or type(state["count"]) is not int:
        return False
    rows = state["signature"]
    if not 0 <= state["count"] < _MOST or not isinstance(rows, list) or len(rows) > CELLS:
        return False
    return all(
        isinstance(row, list)
        and 0 < len(row) <= CELLS
        and len(row) == len(rows[0])
        and all(isinstance(v, int | float) and math.isfinite(v) for v in row)
        for row in rows
    )
