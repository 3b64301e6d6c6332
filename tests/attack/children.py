"""A command in a forked process with little memory and little time: what takes more than it may fails there."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multigraft.cli.main import main

SECONDS = 30
"""A hang is what takes longer; no figure."""
MEMORY_BYTES = 200 << 20
"""That a command may take beside what the process has before."""


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        code: Its exit code; negative for a signal.
        text: Standard error.
    """

    code: int
    text: str

    @property
    def sentence(self) -> str:
        """The one sentence that it ended with."""
        lines = [line for line in self.text.splitlines() if line.startswith("multigraft: ")]
        assert len(lines) == 1, self
        return lines[0]


def command(argv: list[str]) -> Answer:
    """Run one command in a child process that may take :data:`MEMORY_BYTES` more than this one has."""
    return answer_of(lambda: main(argv))


def answer_of(run: Callable[[], int]) -> Answer:
    """As :func:`command`, with what gives the exit code."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        limit = _address_space() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        code = 99
        try:
            code = run()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return Answer(os.waitstatus_to_exitcode(status), said)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
