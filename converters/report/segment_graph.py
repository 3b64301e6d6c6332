"""The bundle as a picture: frame, trunk, heads, from left to right, as inline SVG that follows the page's colours."""

from __future__ import annotations

from html import escape

from multigraft.converters.report import units
from multigraft.converters.report.summary import SegmentResult, Summary

BOX_WIDTH, BOX_HEIGHT = 214, 92
GAP_X, GAP_Y = 66, 22
FRAME_WIDTH = 84
NAME_LETTERS = 20
MARGIN = 2


def shortened(name: str, letters: int = NAME_LETTERS) -> str:
    """``name`` with its middle left out if it is longer than ``letters``: ends tell long tensor names apart."""
    if len(name) <= letters:
        return name
    half = (letters - 1) // 2
    return f"{name[: letters - 1 - half]}…{name[-half:]}"


def segment_graph(summary: Summary) -> str:
    """SVG of :attr:`Summary.graph`; empty if it holds no segments."""
    segments = summary.graph
    if not segments:
        return ""
    columns = _columns(segments)
    rows = _rows(segments)
    place = {
        s.name: (
            MARGIN + FRAME_WIDTH + GAP_X + columns[s.name] * (BOX_WIDTH + GAP_X),
            MARGIN + rows[s.name] * (BOX_HEIGHT + GAP_Y),
        )
        for s in segments
    }
    width = max(x for x, _ in place.values()) + BOX_WIDTH + MARGIN
    height = max(y for _, y in place.values()) + BOX_HEIGHT + MARGIN
    first = [place[s.name] for s in segments if not s.inputs]
    frame_y = (min(y for _, y in first) + max(y for _, y in first)) / 2
    largest = max(s.weights_bytes for s in segments) or 1
    parts = [_frame(frame_y)]
    for s in segments:
        starts = [(place[i][0] + BOX_WIDTH, place[i][1]) for i in s.inputs if i in place]
        parts += [_edge(start, place[s.name]) for start in starts or [(MARGIN + FRAME_WIDTH, frame_y)]]
    parts += [_box(s, *place[s.name], s.weights_bytes / largest, _is_shared(s, segments)) for s in segments]
    said = "; ".join(
        f"{s.name}{' from ' + ', '.join(s.inputs) if s.inputs else ''}: {units.byte_count(s.weights_bytes)},"
        f" {units.macs(s.macs)}, {units.latency(s.latency_us)}"
        for s in segments
    )
    return (
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" role="img"'
        f' aria-labelledby="graph-title graph-description"><title id="graph-title">Segments of the bundle</title>'
        f'<desc id="graph-description">{escape(said)}</desc>{"".join(parts)}</svg>'
    )


def _is_shared(segment: SegmentResult, segments: tuple[SegmentResult, ...]) -> bool:
    return len(segment.tasks) > 1 or sum(segment.name in s.inputs for s in segments) > 1


def _columns(segments: tuple[SegmentResult, ...]) -> dict[str, int]:
    """Longest way from the frame; segments come in running order, so inputs are known before readers."""
    columns: dict[str, int] = {}
    for s in segments:
        columns[s.name] = 1 + max((columns[i] for i in s.inputs if i in columns), default=-1)
    return columns


def _rows(segments: tuple[SegmentResult, ...]) -> dict[str, float]:
    """Leaves on rows of their own in tree order, a segment that others read in the middle of its readers."""
    rows: dict[str, float] = {}
    free = 0

    def settle(segment: SegmentResult) -> float:
        nonlocal free
        if segment.name not in rows:
            readers = [s for s in segments if segment.name in s.inputs]
            below = [settle(reader) for reader in readers]
            rows[segment.name] = (min(below) + max(below)) / 2 if below else float(free)
            free += not below
        return rows[segment.name]

    for s in segments:
        if not s.inputs:
            settle(s)
    for s in segments:
        settle(s)
    return rows


def _frame(y: float) -> str:
    middle = y + BOX_HEIGHT / 2
    x, top = MARGIN, middle - 30
    return (
        f'<g class="frame"><rect x="{x}" y="{top:.1f}" width="{FRAME_WIDTH}" height="60" rx="8"/>'
        f'<text x="{x + FRAME_WIDTH / 2}" y="{middle - 2:.1f}">one</text>'
        f'<text x="{x + FRAME_WIDTH / 2}" y="{middle + 15:.1f}">frame</text></g>'
    )


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + BOX_HEIGHT / 2, y1 + BOX_HEIGHT / 2
    tip = x1 - 7
    bend = (x0 + tip) / 2
    return (
        f'<path class="edge" d="M{x0:.1f} {y0:.1f}C{bend:.1f} {y0:.1f} {bend:.1f} {y1:.1f} {tip:.1f} {y1:.1f}"/>'
        f'<path class="tip" d="M{tip:.1f} {y1 - 4.5:.1f}L{x1:.1f} {y1:.1f}L{tip:.1f} {y1 + 4.5:.1f}z"/>'
    )


def _box(segment: SegmentResult, x: float, y: float, fill: float, shared: bool) -> str:
    bar = BOX_WIDTH - 28
    timing = f" · {units.latency(segment.latency_us)}" if segment.latency_us is not None else ""
    weights = f"{units.byte_count(segment.weights_bytes)} · {escape(segment.precision)}"
    return (
        f'<g class="segment{" shared" if shared else ""}"><title>{escape(segment.name)}</title>'
        f'<rect class="body" x="{x:.1f}" y="{y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="10"/>'
        f'<text class="name" x="{x + 14:.1f}" y="{y + 26:.1f}">{escape(shortened(segment.name))}</text>'
        f'<text x="{x + 14:.1f}" y="{y + 47:.1f}">{weights}</text>'
        f'<text x="{x + 14:.1f}" y="{y + 65:.1f}">{units.macs(segment.macs)}{timing}</text>'
        f'<rect class="rail" x="{x + 14:.1f}" y="{y + 76:.1f}" width="{bar}" height="5" rx="2.5"/>'
        f'<rect class="fill" x="{x + 14:.1f}" y="{y + 76:.1f}" width="{max(5.0, bar * fill):.1f}" height="5" rx="2.5"/>'
        "</g>"
    )
