"""The sentences of a Markdown page: tables, code, headings and pictures are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r"^```.*?^```\s*?$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NO_PROSE = re.compile(r"^(#|\||!\[|    |\* \* \*|---)")
_ITEM = re.compile(r"^\s*([-*]|\d+\.) ")
_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_`\[A-Z0-9‹±]|multigraft )")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs)\.")


def sentences(markdown: str) -> Iterator[str]:
    """Every sentence of the page's text, in order; a code span is one word."""
    for paragraph in _paragraphs(_COMMENT.sub("", _FENCE.sub("", markdown))):
        text = re.sub(r"``[^`]+``|`[^`]+`", "CODE", paragraph)
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
        yield from (one for one in _END.split(_ABBREVIATION.sub("CODE", text)) if one.strip())


def words(sentence: str) -> int:
    """Words, as a reader counts them; signs between them are none."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_continuation = bool(lines) and line.startswith("    ") and _ITEM.match(lines[0])
        if not line.strip() or (_NO_PROSE.match(line) and not is_continuation) or _ITEM.match(line):
            if lines:
                yield " ".join(lines)
            lines = [line] if _ITEM.match(line) else []
        else:
            lines.append(line.strip())
