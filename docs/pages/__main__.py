"""Writes the pages and pictures that are made from the code: ``python -m docs.pages``."""

from __future__ import annotations

import functools
from collections.abc import Callable

from docs.pages import answers, commands, import_picture, troubleshooting, ways
from docs.pages.sources import DOCS
from multigraft.converters.report import summary_docs
from multigraft.converters.settings import settings_docs

PAGES: dict[str, Callable[[], str]] = {
    "answers.md": answers.markdown,
    "commands.md": commands.markdown,
    "imports.svg": import_picture.svg,
    "settings.md": settings_docs.markdown,
    "summary.md": summary_docs.markdown,
    "troubleshooting.md": troubleshooting.markdown,
    **{f"way-{way.name}.svg": functools.partial(ways.svg, way) for way in ways.WAYS},
}
"""Name below ``docs/`` to what makes it."""


def main() -> None:
    """Write those that changed, and say which."""
    for name, make in PAGES.items():
        text = make()
        path = DOCS / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"docs/{name}")


if __name__ == "__main__":
    main()
