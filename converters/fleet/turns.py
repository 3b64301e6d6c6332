"""Large files are unpacked one after the other: several are read at a time, and each may be made to fill memory."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from multigraft.archive import Allowance

AT_ONCE = 16 << 20
"""Bytes that a file may unpack to while others are unpacked, too."""

_LARGE = threading.Lock()


class Turn:
    """What one file may unpack to; beyond :data:`AT_ONCE` it waits until no other file of this process is beyond it.

    Use it with ``with``: at its end the next one may. What is kept of the file by then is kept.

    Args:
        most: Bytes that it may unpack to.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_held:
            self._is_held = False
            _LARGE.release()

    def allowance(self, packed: int) -> Allowance:
        """To be counted down by whoever unpacks the file.

        Args:
            packed: Bytes of the file.
        """
        return _Waiting(packed, self._most, self)

    def wait(self) -> None:
        """Until no other file is large."""
        if not self._is_held:
            _LARGE.acquire()
            self._is_held = True


class _Waiting(Allowance):
    def __init__(self, packed: int, most: int, turn: Turn) -> None:
        super().__init__(packed, most)
        self._turn, self._taken = turn, 0

    def take(self, size: int) -> None:
        super().take(size)
        self._taken += size
        if self._taken > AT_ONCE:
            self._turn.wait()
