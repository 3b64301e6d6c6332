"""One line of progress at a time: a spinner and a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from multigraft.plain_streams import terminal_of
from multigraft.visible import visible

if TYPE_CHECKING:
    from rich.live import Live

Report = Callable[[str], None]
"""Takes one short line that says what is being done now, with its count where there is one: ``graft b (2 of 9)``."""

LASTING = ("note: ", "warning: ")
"""What lines begin with that stay on a terminal."""


WARNING = LASTING[1]

COUNTED_EVERY_S = 10.0
"""Where no terminal shows them, lines that differ from those before in nothing but numbers come so often at most."""
_NUMBERS = re.compile(r"(?<![\w.-])[0-9][0-9.,]*(?![\w-])")
"""Numbers that stand alone: two tasks whose names end in numbers are two things to tell."""
_SEARCHED = re.compile(r"search: step (\d+) of about (\d+)(?:, best so far: (.*))?")


def search_line(done: int, total: int, best: str = "") -> str:
    """The line that a terminal shows as a bar: steps done, about how many there are, and the best point so far."""
    return f"search: step {done} of about {total}" + (f", best so far: {best}" if best else "")


class Remembering:
    """A report that passes lines on and remembers what was warned of.

    Attributes:
        warnings: Sentences without the word and without a full stop, in order, each once.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self.warnings: list[str] = []

    def __call__(self, line: str) -> None:
        """Take a line."""
        if line.startswith(WARNING) and (sentence := line.removeprefix(WARNING)) not in self.warnings:
            self.warnings.append(sentence)
        self._report(line)


def silent(line: str) -> None:
    """A report that nobody reads."""


@contextlib.contextmanager
def terminal_report(stream: TextIO | None = None) -> Iterator[Report]:
    """Yield a report that shows on ``stream`` (default standard error).

    On a terminal with rich installed the latest line is shown beside a spinner, under it how far a search is, and both
    disappear at the end; otherwise each line is printed, but of those that count something up only some.
    """
    stream = stream or sys.stderr
    if stream.isatty() and (drawn := _drawn(terminal_of(stream))) is not None:
        live, report = drawn
        with live:
            yield report
        return

    counted, since = "", 0.0

    def plain(line: str) -> None:
        nonlocal counted, since
        what = _NUMBERS.sub("#", line)
        if what == counted and not line.startswith(LASTING) and time.monotonic() < since + COUNTED_EVERY_S:
            return
        counted, since = what, time.monotonic()
        print(visible(line), file=stream, flush=True)

    yield plain


def _drawn(terminal: TextIO) -> tuple[Live, Report] | None:
    """What is shown as long as it is entered, and the report to it; None without rich."""
    try:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.text import Text
    except Exception:
        # Missing or broken: it is no more than an ornament.
        return None

    # Texts, not markup: a name may hold brackets.
    column = TextColumn("{task.description}", markup=False)
    lines = Progress(SpinnerColumn(), column)
    bars = Progress(
        BarColumn(), TextColumn("{task.completed:.0f} of about {task.total:.0f}"), TimeElapsedColumn(), column
    )
    latest = lines.add_task("", total=None)
    searched = bars.add_task("", visible=False)
    console = Console(file=terminal)

    def report(line: str) -> None:
        shown = visible(line)
        if line.startswith(LASTING):
            console.print(Text(shown))
        elif (match := _SEARCHED.fullmatch(shown)) is not None:
            done, total, best = int(match[1]), int(match[2]), match[3]
            description = f"best so far: {best}" if best else ""
            bars.update(searched, completed=done, total=total, description=description, visible=done < total)
        else:
            lines.update(latest, description=shown)

    return Live(Group(lines, bars), console=console, transient=True, refresh_per_second=8), report
