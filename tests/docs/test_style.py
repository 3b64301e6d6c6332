"""Pages are for a reader in a field: short sentences, and words that mean something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.prose import sentences, words

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_SENTENCE = 30
"""Words."""
FRAGMENTS = re.compile(r"\bOf the bound\b|What was never run|^Of (?:a|an|the) \w+[.;]?$")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_is_too_long(page: Path) -> None:
    long = [(words(one), one) for one in sentences(page.read_text("utf-8")) if words(one) > LONGEST_SENTENCE]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_fragment_stands_for_a_sentence(page: Path) -> None:
    assert [one for one in sentences(page.read_text("utf-8")) if FRAGMENTS.search(one)] == []


def test_what_is_prose_and_what_is_not() -> None:
    page = """# A heading that is not counted

One sentence, with `some code of many words`. Another [one](link.md) (in a
paragraph of two lines). "A third."

- An item of a list
  on two lines.
- Another.

| a table | is left out. Really. |

    so is code. Always.

```python
and = this. Too
```
"""
    assert list(sentences(page)) == [
        "One sentence, with CODE.",
        "Another one (in a paragraph of two lines).",
        '"A third."',
        "- An item of a list on two lines.",
        "- Another.",
    ]
    assert words("- Three words – here") == 3
