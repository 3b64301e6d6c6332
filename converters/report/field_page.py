"""What pages about the field share: the document around their sections, and the tiles on top."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources

from multigraft.converters.report import field_charts as charts


def document(kind: str, title: str, lead: str, sections: Iterable[str]) -> str:
    """The HTML text.

    Args:
        kind: Of the report: ``field`` or ``fleet``.
        title: Of the page, as text.
        lead: The sentences below the title, as HTML.
        sections: HTML; what is empty is left out.
    """
    style = resources.files(__package__).joinpath("report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} – multigraft {kind} report</title><style>\n{style}{charts.STYLE}</style></head>\n"
        f'<body><header><p class="eyebrow">multigraft {kind} report</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{lead}</p></header>\n'
        f"<main>{chr(10).join(s for s in sections if s)}</main></body></html>\n"
    )


def tiles(shown: Iterable[tuple[str, str, str]]) -> str:
    """Tiles side by side.

    Args:
        shown: Name, figure, and what it is of.
    """
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><h3>{name}</h3><p class="figure">{escape(figure)}</p><small>{escape(what)}</small></div>'
        for name, figure, what in shown
    ) + "</div>"  # fmt: skip
