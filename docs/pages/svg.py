"""Boxes, arrows and text as SVG: just what the pictures of the architecture need."""

from __future__ import annotations

from html import escape

_STYLE = """svg{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.page{fill:#fff}.panel{fill:#f4f6f8;stroke:#c4ccd4}.box{fill:#fff;stroke:#7b8794}.end{fill:#e6f2ea;stroke:#3c7d55}
text{fill:#1b1f24;font-size:13px}.h{font-size:15px;font-weight:650}.s{fill:#4d5661;font-size:11.5px}
.m{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:11px;fill:#1f4f8f}
.a{fill:none;stroke:#4d5661;stroke-width:1.6;marker-end:url(#tip)}"""


class Picture:
    """A picture that grows as things are put into it; units are pixels.

    Args:
        width: Of the whole.
        height: Of the whole.
        title: What it shows, for those who cannot see it.
        description: The same in a sentence or two.
    """

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'aria-labelledby="t d"><title id="t">{escape(title)}</title><desc id="d">{escape(description)}</desc>',
            f"<style>{_STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#4d5661"/></marker></defs>',
            f'<rect class="page" width="{width}" height="{height}"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        self._parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        end = f' text-anchor="{anchor}"' if anchor != "start" else ""
        style = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{style}{end}>{escape(words)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        path = "L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path class="a" d="M{path}"/>')

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>"]) + "\n"
