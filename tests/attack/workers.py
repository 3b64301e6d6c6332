"""Tries one input after another in a forked process that is replaced when it dies: a fork a try takes most of its time.

An end that is bad and came after others in one process is put down to the input that has it alone; where none has, to
the one that was tried last, with a word that it takes those before.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.attack.trials import SECONDS, End, death, end_of, limited, said, tried

MOST_TRIES = 100
"""After so many a process is replaced, so that what it gathered does not grow without end."""
_LENGTH = struct.Struct("<Q")
_FIGURES = struct.Struct("<dd")


class Worker:
    """Calls ``run`` with one input after another, each of which may crash, hang or take too much memory.

    Args:
        run: Opens an input.
        most: Inputs for one process.

    Attributes:
        started: How many processes were started.
    """

    def __init__(self, run: Callable[[bytes], object], most: int = MOST_TRIES) -> None:
        self._run, self._most, self.started = run, most, 0
        self._child, self._to, self._from = 0, -1, -1
        self._before: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def tried(self, data: bytes) -> tuple[End, bytes]:
        """How an input ends, and the input that this is put down to: nearly always ``data``."""
        if len(self._before) >= self._most:
            self._stop()
        if not self._child:
            self._start()
        end = self._asked(data)
        if not self._child:
            before, self._before = self._before, []
            return self._blamed(end, data, before)
        self._before.append(data)
        return end, data

    def _blamed(self, end: End, data: bytes, before: list[bytes]) -> tuple[End, bytes]:
        """A process died: whose fault it was."""
        for one in (data, *before[::-1]):
            alone = tried(functools.partial(self._run, one))
            if alone.is_bad:
                return alone, one
        return End(end.kind, f"{end.detail} after {len(before)} others", end.seconds, end.peak_mb), data

    def _asked(self, data: bytes) -> End:
        begin = time.perf_counter()
        _write(self._to, _LENGTH.pack(len(data)) + data)
        told = _read(self._from, _LENGTH.size)
        if len(told) == _LENGTH.size:
            text = _read(self._from, _LENGTH.unpack(told)[0])
            seconds, peak_mb = _FIGURES.unpack(text[: _FIGURES.size])
            return end_of(text[_FIGURES.size :].decode(errors="replace"), seconds, peak_mb)
        seconds = time.perf_counter() - begin
        os.close(self._to)
        os.close(self._from)
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        return death(status, seconds, 0.0)

    def _start(self) -> None:
        there, to = os.pipe()
        back, answer = os.pipe()
        sys.stdout.flush()
        self._child = os.fork()
        self.started += 1
        if self._child == 0:
            os.close(to)
            os.close(back)
            try:
                self._serve(there, answer)
            finally:
                os._exit(1)
        os.close(there)
        os.close(answer)
        self._to, self._from, self._before = to, back, []

    def _serve(self, there: int, answer: int) -> None:
        limited()
        while len(told := _read(there, _LENGTH.size)) == _LENGTH.size:
            data = _read(there, _LENGTH.unpack(told)[0])
            # Linux takes the largest size that a process had back to the size that it has.
            Path("/proc/self/clear_refs").write_text("5")
            before = _peak_mb()
            begin = time.perf_counter()
            signal.alarm(SECONDS)
            text = said(functools.partial(self._run, data)).encode(errors="replace")[:2000]
            signal.alarm(0)
            figures = _FIGURES.pack(time.perf_counter() - begin, max(0.0, _peak_mb() - before))
            _write(answer, _LENGTH.pack(len(figures) + len(text)) + figures + text)
        os._exit(0)

    def _stop(self) -> None:
        if self._child:
            # Other workers' processes hold its pipe open, too, so closing it would not end it.
            os.kill(self._child, signal.SIGKILL)
            os.close(self._to)
            os.close(self._from)
            os.waitpid(self._child, 0)
            self._child = 0
        self._before = []


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _write(to: int, data: bytes) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(to, left) :]
    except BrokenPipeError:
        pass  # it died: that is seen when its answer is read


def _read(source: int, size: int) -> bytes:
    """So many bytes, or fewer where the process at the other end is gone."""
    parts = []
    while size and (part := os.read(source, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
