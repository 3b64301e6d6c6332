"""A child process that may hang: what it does with its time tells whether it is stuck, and not the clock on the wall.

On a busy machine work takes as long as others let it. So a step may take so much processor time, which the child itself
lets the kernel hold (:func:`begin_step`), and the parent looks whether it does anything at all (:func:`run_watched`).
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

STEP_S = 120.0
"""Processor time for one step: starting Python and loading, or one run."""
IDLE_S = 60.0
LOOK_S = 1.0
_BUSY_SHARE = 0.02
"""Of a processor: who uses less, and does not wait for one either, only wakes up now and then."""


class StuckError(Exception):
    """The child was ended; the message tells what it did: ``it did nothing for 60 s``."""


def begin_step(threads: int = 1, seconds: float = STEP_S) -> None:
    """In the child: from now on so much more processor time may be used, by all threads together.

    Args:
        threads: How many work at once.
        seconds: Processor time of each; the kernel counts whole seconds.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(usage.ru_utime + usage.ru_stime + max(threads, 1) * seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def run_watched(
    command: Sequence[str], given: bytes | None = None, idle_s: float = IDLE_S
) -> subprocess.CompletedProcess[bytes]:
    """Run a command until it ends, however long it takes, as long as it does something.

    Args:
        command: Program and arguments.
        given: What it reads; None for nothing.
        idle_s: Seconds in which it may neither run nor wait for a processor or a disk. Where the system does not tell
            what it does, seconds that it may take.

    Raises:
        StuckError: It did nothing for that long, or used up the processor time of a step.
    """
    with contextlib.ExitStack() as stack:
        source: int | IO[bytes] = subprocess.DEVNULL
        if given is not None:
            # A file: communicate() of Python 3.11 loses what it had not sent when a timeout ended it.
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(given)
            source.seek(0)
        process = stack.enter_context(
            subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
        try:
            watch = _Watch(process.pid, idle_s)
            while True:
                try:
                    out, errors = process.communicate(timeout=min(LOOK_S, idle_s))
                    break
                except subprocess.TimeoutExpired:
                    if watch.is_stuck():
                        raise StuckError(f"it did nothing for {idle_s:g} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode == -signal.SIGXCPU:
        raise StuckError("a step of it used up its processor time")
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


class _Watch:
    """Adds up for how long a process has done nothing."""

    def __init__(self, pid: int, idle_s: float) -> None:
        self._pid, self._idle_s = pid, idle_s
        self._looked, self._used, self._idle = time.monotonic(), 0.0, 0.0

    def is_stuck(self) -> bool:
        """Look once more."""
        now = time.monotonic()
        # Where this process was kept waiting, nothing is known of the time between.
        elapsed = min(now - self._looked, 2 * LOOK_S)
        used, is_waiting = activity(self._pid)
        if is_waiting or used - self._used > _BUSY_SHARE * elapsed:
            self._idle = 0.0
        else:
            self._idle += elapsed
        self._looked, self._used = now, used
        return self._idle >= self._idle_s


def activity(pid: int) -> tuple[float, bool]:
    """What a process does: proc(5), ``/proc/PID/task/TID/stat``.

    Returns:
        Seconds that its threads ran, and whether one of them runs, waits for a processor or for a disk right now.
        Without anything to read: none, and no.
    """
    used, is_waiting = 0, False
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            # The name before the last bracket may hold anything.
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
            is_waiting = is_waiting or fields[0] in ("R", "D")
        except (OSError, ValueError, IndexError):
            continue
    return used / os.sysconf("SC_CLK_TCK"), is_waiting
