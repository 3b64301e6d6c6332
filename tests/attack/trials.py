"""One try in a forked process, so that a crash, a hang and too much memory are figures and not the end."""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multigraft.errors import MultigraftError
from multigraft.npz import npz_bytes, read_npz

SECONDS = 10
"""A try that takes longer hangs."""
MEMORY_MB = 300
"""That a try may take beside what the process has before it."""
ADDRESS_SPACE = 4 << 30
"""Beside what the process has: what asks for more at once gets no memory."""

KINDS = ("refused", "passed", "traceback", "crash", "hang", "memory")
BAD = ("traceback", "crash", "hang", "memory")
"""``memory``: it was refused or passed, and took more than :data:`MEMORY_MB`."""


@dataclass(frozen=True)
class End:
    """How a try ended.

    Attributes:
        kind: Of :data:`KINDS`.
        detail: The signal, or exception and place.
        seconds: How long it took.
        peak_mb: Largest resident size (``ru_maxrss``) above what the process had at first, megabytes.
    """

    kind: str
    detail: str
    seconds: float
    peak_mb: float

    @property
    def is_bad(self) -> bool:
        """Whether none may end so."""
        return self.kind in BAD


@dataclass
class Row:
    """How many mutants of one kind ended how.

    Attributes:
        name: Of the kind.
        counts: By :data:`KINDS`.
        slowest: Seconds of the slowest try.
        peak_mb: Of the largest.
        details: What went wrong, and how often.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak_mb: float = 0.0
    details: Counter[str] = field(default_factory=Counter)

    def add(self, end: End) -> None:
        """Count one try."""
        self.counts[end.kind] += 1
        self.slowest, self.peak_mb = max(self.slowest, end.seconds), max(self.peak_mb, end.peak_mb)
        if end.is_bad:
            self.details[f"{end.kind} {end.detail}"] += 1

    @property
    def bad(self) -> int:
        """How many ended as none may."""
        return sum(self.counts[kind] for kind in BAD)

    def __str__(self) -> str:
        counts = (sum(self.counts.values()), *(self.counts[kind] for kind in KINDS))
        lines = [f"{self.name:24}" + "".join(f"{n:>8,}" for n in counts) + f"{self.slowest:>9.2f}{self.peak_mb:>8.0f}"]
        return "\n".join(lines + [f"  {times:6} {text}" for text, times in self.details.most_common(40)])


HEAD = (
    f"{'':24}" + "".join(f"{name:>8}" for name in ("made", "refused", "passed", "traceb.", "crash", "hang", "memory"))
) + f"{'slowest s':>9}{'peak MB':>8}"  # fmt: skip


def tried(run: Callable[[], object]) -> End:
    """Call ``run`` in a forked process, whose output goes nowhere."""
    reading, writing = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reading)
        # Less than its parent's: pages of files come when they are touched.
        os.write(writing, f"{_resident_kib()} ".encode())
        limited()
        signal.alarm(SECONDS)
        os.write(writing, said(run).encode(errors="replace")[:2000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        before, _, told = pipe.read().decode(errors="replace").partition(" ")
    _, status, usage = os.wait4(child, 0)
    seconds, peak_mb = time.perf_counter() - start, max(0, usage.ru_maxrss - int(before)) * 1024 / 1e6
    return end_of(told, seconds, peak_mb) if told and not os.WIFSIGNALED(status) else death(status, seconds, peak_mb)


def end_of(told: str, seconds: float, peak_mb: float) -> End:
    """How a try ended that came to an end: ``told`` is what :func:`said` gave."""
    kind, _, detail = told.partition(" ")
    if kind in ("refused", "passed") and peak_mb > MEMORY_MB:
        return End("memory", f"{peak_mb:.0f} MB, {kind} {detail}"[:160], seconds, peak_mb)
    return End(kind, detail, seconds, peak_mb)


def death(status: int, seconds: float, peak_mb: float) -> End:
    """How a try ended whose process, which has this wait status, died of it."""
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        return End("hang" if number == signal.SIGALRM else "crash", number.name, seconds, peak_mb)
    return End("crash", f"exit code {os.WEXITSTATUS(status)}", seconds, peak_mb)


def apart(make: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    """What ``make`` gives, made in a forked process: threads that it starts would not be in those forked later.

    Raises:
        RuntimeError: It failed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(npz_bytes({name: np.frombuffer(data, np.uint8) for name, data in make().items()}, 0))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        made = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("seeds cannot be made")
    return {name: array.tobytes() for name, array in read_npz(made).items()}


def limited() -> None:
    """Let this process, a forked one, take so much memory, leave no core and print nothing; an alarm ends it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit = _address_space() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)


def said(run: Callable[[], object]) -> str:
    """Call ``run``: one of :data:`KINDS`, and the detail behind a space."""
    try:
        run()
    except MultigraftError as error:
        return f"refused {error}" if error.problem and str(error).endswith(".") else f"traceback no sentence: {error!r}"
    except BaseException as error:
        places = traceback.extract_tb(error.__traceback__)
        ours = next((p for p in reversed(places) if "/multigraft/" in p.filename), places[-1])
        where = f"{Path(ours.filename).name}:{ours.lineno}"
        return f"traceback {type(error).__name__} at {where}: {str(error)[:160]}"
    return "passed"


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * (resource.getpagesize() >> 10)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
