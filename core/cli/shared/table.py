"""Tables for people: aligned plain text, or rich's where it is installed and the stream is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from multigraft.plain_streams import terminal_of
from multigraft.visible import visible

Row = Sequence[str]


def print_table(
    title: str,
    headers: Row,
    rows: Sequence[Row],
    *,
    right: Sequence[bool] | None = None,
    is_narrow: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Print a table.

    Args:
        title: Stands above it.
        headers: One per column.
        rows: Each with one text per column.
        right: Whether each column is aligned to the right; None for those whose cells are all numbers.
        is_narrow: Leave out the margin, and break lines in the first column alone, for a table that is wide.
        stream: Where it is printed; None for standard output.
    """
    stream = stream or sys.stdout
    title, headers = visible(title), [visible(header) for header in headers]
    rows = [[visible(cell) for cell in row] for row in rows]
    if right is None:
        right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headers))]
    if stream.isatty() and _print_rich(title, headers, rows, right, is_narrow, stream):
        return
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    margin = "" if is_narrow else "  "
    print(title, file=stream)
    for row in (headers, ["-" * width for width in widths], *rows):
        cells = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        print(margin + "  ".join(cells).rstrip(), file=stream)
    print(file=stream)


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit()


def _print_rich(
    title: str, headers: Row, rows: Sequence[Row], right: Sequence[bool], is_narrow: bool, stream: TextIO
) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except Exception:
        # Missing or broken: it is no more than an ornament.
        return False
    # As texts, not as markup: a name may hold brackets.
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=not is_narrow,
        collapse_padding=is_narrow,
    )
    for position, (header, number) in enumerate(zip(headers, right, strict=True)):
        # Folded, not cut off: a tensor's name is of no use without its end.
        table.add_column(
            Text(header), justify="right" if number else "left", overflow="fold", no_wrap=is_narrow and position > 0
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=terminal_of(stream), highlight=False).print(table)
    return True
