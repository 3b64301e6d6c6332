"""Fonts for labels in any script: one that has all letters of a text, else escapes for those that none has."""

from __future__ import annotations

import functools
from typing import Any

from multigraft.runtime.drawing.pillow import pillow
from multigraft.visible import escaped, visible

SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "FreeSans.ttf",
)
"""Looked for by name where the system keeps fonts; Pillow's own, which has Latin letters, comes first."""
LONGEST = 80
"""Characters of a label that are drawn."""
_UNASSIGNED = "\U0010ffff"
"""No font has it: what is drawn for it is what a font draws for letters that it lacks."""


def lettered(text: str, size: int) -> tuple[str, Any]:
    """A text as it can be drawn, and the font to draw it with.

    Args:
        text: Of anybody.
        size: Height of letters, pixels.
    """
    shown = visible(text)
    if len(shown) > LONGEST:
        shown = shown[: LONGEST - 1] + "…"
    fewest: tuple[int, Any, str] | None = None
    for number in range(len(SYSTEM_FONTS) + 1):
        font = _font(number, size)
        if font is None:
            continue
        lacking = {c for c in shown if not _has(number, c)}
        if not lacking:
            return shown, font
        if fewest is None or len(lacking) < fewest[0]:
            fewest = len(lacking), font, "".join(escaped(c) if c in lacking else c for c in shown)
    assert fewest is not None
    return fewest[2], fewest[1]


@functools.lru_cache(maxsize=256)
def _font(number: int, size: int) -> Any:
    """Pillow's own font, or one of the system's; None where it is not there."""
    _, _, fonts = pillow()
    if number:
        try:
            return fonts.truetype(SYSTEM_FONTS[number - 1], size)
        except (OSError, ImportError):
            return None
    try:
        return fonts.load_default(size)
    except (TypeError, ImportError, OSError):
        # Before Pillow 10.1, or one built without FreeType: a font of one size.
        return fonts.load_default()


@functools.lru_cache(maxsize=4096)
def _has(number: int, character: str) -> bool:
    if " " <= character <= "~":
        return True
    try:
        return character.isspace() or _picture(number, character) != _picture(number, _UNASSIGNED)
    except (UnicodeError, OSError, ValueError):
        # A font of bitmaps knows the first 256 characters.
        return False


def _picture(number: int, character: str) -> tuple[object, bytes]:
    mask = _font(number, 16).getmask(character)
    return mask.size, bytes(mask)
