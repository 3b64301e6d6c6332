"""How collecting goes, as people or programs want to see it: a live view, plain lines, or JSON lines."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from multigraft.calibration.collect.collect_events import CollectEvent, OnCollectEvent
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.plain_streams import terminal_of

PLAIN_EVERY_S = 10.0
"""Seconds between plain lines: a log of an hour stays readable."""


def sentence(event: CollectEvent, options: CollectOptions) -> str:
    """One line: what a technician wants to know."""
    goal = f" of {options.frames:,}" if options.frames else ""
    parts = [f"{event.frames:,}{goal} frames", f"{event.rate_hz:.1f}/s", _minutes(event, options)]
    parts.append(_precision(event, options))
    if event.skipped:
        parts.append(f"{event.skipped:,} skipped")
    if event.kept:
        parts.append(f"{event.kept:,} kept")
    if event.temperature_c is not None:
        parts.append(f"{event.temperature_c:.0f} °C")
    if event.is_throttled:
        parts.append("THROTTLED")
    parts.append(f"{event.store_bytes / 1e6:.1f} MB stored, {event.free_bytes / 1e9:.1f} GB free")
    return ", ".join(part for part in parts if part)


def _minutes(event: CollectEvent, options: CollectOptions) -> str:
    goal = f" of {options.minutes:g}" if options.minutes else ""
    return f"{event.active_s / 60:.1f}{goal} min"


def _precision(event: CollectEvent, options: CollectOptions) -> str:
    goal = f" (wanted ±{options.precision:g})" if options.precision else ""
    return "" if event.precision is None else f"CKA to ±{event.precision:.3f}{goal}"


@contextlib.contextmanager
def show_collecting(
    options: CollectOptions, as_json: bool = False, stream: TextIO | None = None
) -> Iterator[OnCollectEvent]:
    """Yield what shows an event.

    Args:
        options: What is wanted.
        as_json: Write one JSON object per event to standard output.
        stream: Where people look (default standard error). A live view needs a terminal and rich.
    """
    target = stream or sys.stderr
    if as_json:
        out = stream or sys.stdout
        yield lambda event: print(json.dumps({"event": "progress", **dataclasses.asdict(event)}), file=out, flush=True)
        return
    if target.isatty():
        try:
            from rich.console import Console
            from rich.live import Live
            from rich.table import Table
        except Exception:  # missing or broken: it is no more than an ornament
            pass
        else:
            console = Console(file=terminal_of(target))
            with Live(console=console, refresh_per_second=4, transient=True) as live:

                def table(event: CollectEvent) -> None:
                    grid = Table.grid(padding=(0, 2))
                    for name, value in _rows(event, options):
                        grid.add_row(f"[dim]{name}[/dim]", value)
                    live.update(grid)

                yield table
            return
    last_s = -PLAIN_EVERY_S

    def plain(event: CollectEvent) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PLAIN_EVERY_S:
            last_s = time.monotonic()
            print(sentence(event, options), file=target, flush=True)

    yield plain


def _rows(event: CollectEvent, options: CollectOptions) -> list[tuple[str, str]]:
    goal = f" of {options.frames:,}" if options.frames else ""
    rows = [
        ("frames", f"[bold]{event.frames:,}[/bold]{goal} and {event.pending} pending, {event.skipped:,} skipped"),
        ("rate", f"{event.rate_hz:.1f} per second"),
        ("time", _minutes(event, options)),
        ("precision", _precision(event, options) or "known after 8 minibatches"),
    ]
    if event.temperature_c is not None:
        slow = " [bold red]throttled[/bold red]" if event.is_throttled else ""
        rows.append(("temperature", f"{event.temperature_c:.1f} °C{slow}"))
    if event.kept:
        rows.append(("frames kept", f"{event.kept:,}"))
    rows.append(("disk", f"{event.store_bytes / 1e6:.1f} MB used, {event.free_bytes / 1e9:.1f} GB free"))
    rows.append(("", "[dim]Ctrl-C stops; the same command resumes[/dim]"))
    return rows
