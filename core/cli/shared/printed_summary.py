"""What ``build`` and ``demo`` print: the result as tables, and sentences below them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from multigraft.cli.shared.table import print_table

if TYPE_CHECKING:
    from multigraft.converters.report.summary import Summary


def print_summary(summary: Summary, stream: TextIO | None = None) -> None:
    """Print the tables and remarks to ``stream`` (standard output by default)."""
    from multigraft.converters.report.terminal import remarks, tables

    stream = stream or sys.stdout
    for table in tables(summary):
        right = [not table.is_text(i) for i in range(len(table.columns))]
        print_table(table.title, table.columns, table.rows, right=right, is_narrow=True, stream=stream)
    for remark in remarks(summary):
        print(remark, file=stream)
