"""Tables for people: aligned plain text, or rich's where it is installed and standard output is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

Row = Sequence[str]


def print_table(title: str, headers: Row, rows: Sequence[Row]) -> None:
    """Print a table; a column whose cells are all numbers is aligned to the right.

    Args:
        title: Stands above it.
        headers: One per column.
        rows: Each with one text per column.
    """
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headers))]
    if _print_rich(title, headers, rows, right):
        return
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    print(title)
    for row in (headers, ["-" * width for width in widths], *rows):
        cells = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        print("  " + "  ".join(cells).rstrip())
    print()


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit()


def _print_rich(title: str, headers: Row, rows: Sequence[Row], right: Sequence[bool]) -> bool:
    if not sys.stdout.isatty():
        return False
    try:
        from rich import box
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        return False
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for header, number in zip(headers, right, strict=True):
        # Folded, not cut off: a tensor's name is of no use without its end.
        table.add_column(header, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
    return True
