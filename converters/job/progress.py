"""One line of progress at a time: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from multigraft.plain_streams import terminal_of
from multigraft.visible import visible

Report = Callable[[str], None]
"""Takes one short line that says what is being done now, with its count where there is one: ``graft b (2 of 9)``."""

LASTING = ("note: ", "warning: ")
"""What lines begin with that stay on a terminal."""


WARNING = LASTING[1]

COUNTED_EVERY_S = 10.0
"""Where no terminal shows them, lines that differ from those before in nothing but numbers come so often at most."""
_NUMBERS = re.compile(r"[0-9][0-9.,]*")


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

    On a terminal with rich installed the latest line is shown beside a spinner and disappears at the end; otherwise
    each line is printed, but of those that count something up only some.
    """
    stream = stream or sys.stderr
    try:
        from rich.console import Console
        from rich.text import Text
    except Exception:
        # Missing or broken: it is no more than an ornament.
        Console = None  # type: ignore[assignment,misc]
    if Console is not None and stream.isatty():
        console = Console(file=terminal_of(stream))
        with console.status("") as status:

            def beside_spinner(line: str) -> None:
                # As a text, not as markup: a name may hold brackets.
                shown = Text(visible(line))
                if line.startswith(LASTING):
                    console.print(shown)
                else:
                    status.update(shown)

            yield beside_spinner
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
