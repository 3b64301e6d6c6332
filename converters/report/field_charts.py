"""Charts of the field report as HTML and inline SVG that follow the page's colours; no script, no picture file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640, 240
BARS_WIDTH = 320
LEFT, BOTTOM, TOP, RIGHT = 46, 34, 10, 12

STYLE = """
.heat { border-collapse: separate; border-spacing: 2px; width: auto; font-size: 12px; }
.heat td { width: 46px; min-width: 30px; height: 26px; padding: 0; border: 0; border-radius: 4px;
  text-align: center; vertical-align: middle; }
.heat th { padding: 0 8px 0 0; border: 0; font-weight: 500; text-align: right; white-space: nowrap; }
.heat thead th { padding: 0 0 4px; text-align: center; max-width: 46px; vertical-align: bottom; }
.heat thead span { display: inline-block; writing-mode: vertical-rl; transform: rotate(180deg); max-height: 170px; }
svg.chart { display: block; width: 100%; max-width: 760px; height: auto; font-size: 12px; }
svg.chart text { fill: var(--muted); } svg.chart .axis { stroke: var(--line); }
svg.chart .line { fill: none; stroke-width: 2; } svg.chart .bars rect { fill: var(--accent-soft); }
.small { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 18px; }
.small h3 { margin: 8px 0 2px; font-size: 14px; }
ul.advice { margin: 8px 0 0; padding-left: 20px; } ul.advice li { margin-bottom: 6px; }
.key { display: inline-block; width: 14px; height: 3px; margin: 0 6px 3px 0; border-radius: 2px; }
"""

COLORS = ("#0b6bcb", "#b3541e", "#1a7446", "#8a4fbf", "#97730b")
"""Colours of lines; each has a contrast of at least 3 to white and to the dark page."""

_DARK = np.array([68, 1, 84]), np.array([33, 145, 140]), np.array([253, 231, 37])
"""Three colours of matplotlib's viridis: 0, 0.5 and 1."""


def heat_color(value: float) -> tuple[str, str]:
    """Background and text colour of a cell for a value of 0..1."""
    value = min(1.0, max(0.0, value))
    low, high, part = (_DARK[0], _DARK[1], 2 * value) if value < 0.5 else (_DARK[1], _DARK[2], 2 * value - 1)
    red, green, blue = (int(c) for c in low + (high - low) * part)
    return f"rgb({red},{green},{blue})", "#fff" if value < 0.6 else "#111"


def heat_map(values: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], caption: str) -> str:
    """A table whose cells are coloured by value 0..1 and carry it."""
    head = "".join(f'<th scope="col"><span>{escape(c)}</span></th>' for c in columns)
    body = ""
    for name, row in zip(rows, values, strict=True):
        cells = ""
        for column, value in zip(columns, row, strict=True):
            back, text = heat_color(float(value))
            title = escape(f"{name} × {column}: {value:.3f}", quote=True)
            cells += f'<td style="background:{back};color:{text}" title="{title}">{value:.2f}</td>'
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}">'
        f'<table class="heat"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def lines(x: Sequence[float], series: Mapping[str, Sequence[float]], x_label: str, y_label: str) -> str:
    """Lines over a logarithmic x axis, with a legend below.

    Args:
        x: Positive and rising; at least one.
        series: Name to a value per ``x``; at most five.
        x_label: Unit of ``x``.
        y_label: What the values are.
    """
    places = np.log2(np.asarray(x, float))
    span = max(1e-9, float(places[-1] - places[0]))
    flat = [v for values in series.values() for v in values]
    low, high = min(flat), max(flat)
    margin = max(0.02, 0.1 * (high - low))
    low, high = low - margin, high + margin

    def at(place: float, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (place - float(places[0])) / span
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    drawn = _axis(low, high, at, float(places[0]), y_label)
    free = float("-inf")
    for place, frames in zip(places, x, strict=True):
        across, _ = at(float(place), low)
        # Labels that would touch are left out.
        if across - free < 56:
            continue
        free = across
        drawn += f'<text x="{across:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{frames:,.0f}</text>'
    drawn += f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">{escape(x_label)}</text>'
    legend = ""
    for (name, values), color in zip(series.items(), COLORS, strict=False):
        points = [at(float(p), v) for p, v in zip(places, values, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        drawn += f'<polyline class="line" stroke="{color}" points="{path}"/>'
        drawn += "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in points)
        legend += f'<div><span class="key" style="background:{color}"></span>{escape(name)}</div>'
    return f"<figure>{_svg(drawn)}<figcaption>{legend}</figcaption></figure>"


def _axis(low: float, high: float, at: object, place: float, label: str) -> str:
    assert callable(at)
    drawn = ""
    for value in np.linspace(low, high, 5):
        _, y = at(place, float(value))
        drawn += f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        drawn += f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
    return drawn + f'<text x="{LEFT}" y="{HEIGHT - 2}">{escape(label)}</text>'


def bars(counts: npt.NDArray[np.int64], first: str, last: str) -> str:
    """A histogram; ``first`` and ``last`` label its ends."""
    greatest = max(1, int(counts.max()))
    wide = (BARS_WIDTH - 2 * RIGHT) / len(counts)
    room = 90
    drawn = "".join(
        f'<rect x="{RIGHT + i * wide:.1f}" y="{8 + room * (1 - c / greatest):.1f}" width="{max(1, wide - 1):.1f}" '
        f'height="{room * c / greatest:.1f}"/>'
        for i, c in enumerate(counts.tolist())
        if c
    )
    labels = (
        f'<line class="axis" x1="{RIGHT}" x2="{BARS_WIDTH - RIGHT}" y1="{room + 8}" y2="{room + 8}"/>'
        f'<text x="{RIGHT}" y="{room + 26}">{escape(first)}</text>'
        f'<text x="{BARS_WIDTH - RIGHT}" y="{room + 26}" text-anchor="end">{escape(last)}</text>'
    )
    return _svg(f'<g class="bars">{drawn}</g>{labels}', BARS_WIDTH, room + 34)


def _svg(content: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-hidden="true">{content}</svg>'
