"""Names from files as they are shown: without characters that move a cursor, colour, reorder or hide others."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: C0, C1 and ESC; bidirectional overrides and other marks; lone surrogates; ends of lines."""
_JOINERS = "\u200c\u200d"
"""Between letters of Persian, Hindi and other scripts, and within emoji: they belong to a word."""


def visible(text: str, keep: str = "") -> str:
    r"""``text`` with ``\u001b`` in place of each control character, as JSON has it.

    Args:
        text: Of anybody.
        keep: Control characters that may stay, such as ends of lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_shown(c) or c in keep else escaped(c) for c in text)


def drawn(text: str) -> str:
    """``text`` as matplotlib draws it letter by letter: between two dollar signs it would look for formulas."""
    return visible(text).replace("$", r"\$")


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN or character in _JOINERS


def escaped(character: str) -> str:
    r"""``\u001b`` in place of a character, as JSON has it."""
    return f"\\u{ord(character):04x}" if ord(character) < 1 << 16 else f"\\U{ord(character):08x}"
