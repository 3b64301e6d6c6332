"""Many machines in waves: the next wave begins when every machine of the one before has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.reading import printable, read_text
from multigraft.runtime.deploy.remote import check_host

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What came of one machine.

    Attributes:
        host: The machine.
        wave: The number of its wave, from 1.
        answer: What it said; None where it failed or was not tried.
        problem: Why it failed, in a sentence; None where it did not.
    """

    host: str
    wave: int
    answer: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def result(self) -> str:
        """``done``, ``failed`` or ``not tried``."""
        return "done" if self.answer is not None else "not tried" if self.problem is None else "failed"


def read_waves(path: Path) -> list[list[str]]:
    """Machines of a file, one a line; an empty line begins a wave, ``#`` a comment.

    In a file without empty lines the first machine is a wave of its own, so that it is tried before the others.

    Raises:
        InputError: The file cannot be read.
        UsageError: It names no machine, one twice, or something that is no name of a machine.
    """
    try:
        text = read_text(path, _LARGEST)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text", "write a machine a line, as UTF-8") from error
    waves: list[list[str]] = [[]]
    for line in text.splitlines():
        host = line.partition("#")[0].strip()
        if host:
            check_host(host)
            waves[-1].append(host)
        elif not line.strip() and waves[-1]:
            waves.append([])
    waves = [wave for wave in waves if wave]
    hosts = [host for wave in waves for host in wave]
    if not hosts:
        raise UsageError(f"{path} names no machine", "write a machine a line, such as pi@garden")
    for host in hosts:
        if hosts.count(host) > 1:
            raise UsageError(f"{path} names {printable(host)} twice", "name it once")
    return [hosts[:1], hosts[1:]] if len(waves) == 1 and len(hosts) > 1 else waves


def in_waves(
    waves: Sequence[Sequence[str]],
    step: Callable[[str], dict[str, Any]],
    parallel: int,
    told: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Do a step on every machine, wave by wave; stop after the first wave in which one failed.

    Args:
        waves: Machines.
        step: Is given one; what it raises of multigraft's errors is that machine's failure.
        parallel: How many machines of a wave at a time.
        told: Is told of each machine as soon as it has an outcome.

    Returns:
        What came of each, in the order of ``waves``.
    """
    outcomes: list[Outcome] = []
    is_failed = False

    def tried(host: str, number: int) -> Outcome:
        try:
            outcome = Outcome(host, number, step(host))
        except MultigraftError as error:
            outcome = Outcome(host, number, problem=str(error))
        if told is not None:
            told(outcome)
        return outcome

    for number, wave in enumerate(waves, 1):
        if is_failed:
            outcomes += [Outcome(host, number) for host in wave]
            continue
        with ThreadPoolExecutor(parallel) as pool:
            done = list(pool.map(tried, wave, [number] * len(wave)))
        outcomes += done
        is_failed = any(outcome.result == "failed" for outcome in done)
    return outcomes
