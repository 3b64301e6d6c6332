"""Standard output and standard error while a command runs: what goes through them is shown, never obeyed.

One place for all that is printed, so that no call has to think of names from files. Whoever means control sequences
(rich, which draws from texts that went through :func:`multigraft.visible.visible`) asks for :func:`terminal_of`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO, cast

from multigraft.visible import visible

KEPT = "\n\t\r"
"""A carriage return goes back to where its own line began, as progress bars do."""


class OutputError(OSError):
    """Standard output takes no more: its disk is full, or its reader has gone."""


class PlainStream(io.TextIOBase):
    """Text to another stream, without control characters.

    Args:
        stream: Where it goes.
        is_optional: Drop what cannot be written: messages that nobody can see stop no work.
    """

    def __init__(self, stream: TextIO, is_optional: bool = False) -> None:
        super().__init__()
        self.stream = stream
        self._is_optional = is_optional
        self._failed: OutputError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the other stream."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Whether the other stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Of the other stream."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Write what can be shown.

        Raises:
            OutputError: The other stream takes no more.
        """
        self._guarded(lambda: self.stream.write(visible(text, KEPT)))
        return len(text)

    def flush(self) -> None:
        """As :meth:`write`."""
        self._guarded(self.stream.flush)

    def close(self) -> None:
        """Nothing: the other stream is somebody else's, and what it could not take was said when it was written."""

    def _guarded(self, do: Callable[[], object]) -> None:
        # Kept, since argparse passes over what goes wrong while it prints help.
        if self._failed is None:
            try:
                do()
            except OSError as error:
                self._abandon()
                self._failed = OutputError(error.errno, error.strerror)
        if self._failed is not None and not self._is_optional:
            raise self._failed

    def _abandon(self) -> None:
        """Let the rest go nowhere, so that the interpreter's last flush does not fail once more."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def terminal_of(stream: TextIO) -> TextIO:
    """The stream behind a :class:`PlainStream`, for who writes control sequences on purpose."""
    return stream.stream if isinstance(stream, PlainStream) else stream


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Put plain streams in place of standard output and standard error, and back."""
    before = sys.stdout, sys.stderr
    _occupy_closed()
    sys.stdout = cast(TextIO, PlainStream(_tolerant(before[0], 1)))
    sys.stderr = cast(TextIO, PlainStream(_tolerant(before[1], 2), is_optional=True))
    try:
        yield
    finally:
        with contextlib.suppress(OutputError):
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _occupy_closed() -> None:
    """Where the shell closed a standard stream, the first file to be opened would get its number, and its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _tolerant(stream: TextIO | None, number: int) -> TextIO:
    """The stream, or nowhere; letters that its encoding lacks are escaped."""
    if stream is None:
        return open(number, "w", encoding="utf-8", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
