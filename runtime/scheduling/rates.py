"""What a task is asked for: how often, how important, and until when."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from multigraft.errors import UsageError
from multigraft.reading import printable

MOST_HZ = 10_000
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_DEADLINE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s)")
_PRIORITY = re.compile(r"-?[0-9]{1,6}")
EXAMPLE = "as in --rate face=2,priority=1,deadline=200ms"


@dataclass(frozen=True)
class TaskRate:
    """One task.

    Attributes:
        task: Its name.
        rate_hz: Answers a second, exactly as typed.
        priority: Of two, the larger one keeps its rate and its deadlines longer.
        deadline_s: Seconds from the moment a frame is due to its answer; None for until it is due again.
    """

    task: str
    rate_hz: Fraction
    priority: int = 0
    deadline_s: float | None = None

    def times(self, factor: Fraction) -> TaskRate:
        """At another rate; its deadline stays."""
        return dataclasses.replace(self, rate_hz=self.rate_hz * factor)

    def __str__(self) -> str:
        hz = float(self.rate_hz)
        return f"{self.task}={hz:.4g}" if hz < 1000 else f"{self.task}={hz:.0f}"


def spelt(rates: Iterable[TaskRate]) -> str:
    """Tasks with their rates, with commas between."""
    return ",".join(map(str, rates))


def parse_rates(texts: Sequence[str]) -> tuple[float | None, tuple[TaskRate, ...]]:
    """What was typed behind ``--rate``, each time.

    Args:
        texts: ``N`` for whole frames, or ``TASK=N`` with ``,priority=P`` and ``,deadline=200ms`` behind it if wanted.

    Returns:
        The rate of whole frames, None where none was given; and the tasks that have one of their own.

    Raises:
        UsageError: One is none, or something was given twice.
    """
    bare: float | None = None
    found: dict[str, TaskRate] = {}
    for text in texts:
        task, separator, rest = text.partition("=")
        if not separator:
            if bare is not None:
                raise UsageError("--rate was given twice for whole frames", "give one, or write --rate TASK=N")
            bare = float(_rate(text, text))
        elif not task or task in found:
            what = f"task {printable(task)} has two rates" if task else f"--rate {printable(text)} names no task"
            raise UsageError(what, f"give each task one, {EXAMPLE}")
        else:
            found[task] = _of_task(task, rest, text)
    return bare, tuple(found.values())


def rates_of(bare: float | None, own: Sequence[TaskRate], tasks: Sequence[str]) -> tuple[TaskRate, ...]:
    """A rate for each task that is served.

    Args:
        bare: For those without one of their own.
        own: See :func:`parse_rates`.
        tasks: Those to answer.

    Raises:
        UsageError: A task has none, or one is given that is not served.
    """
    by_name = {rate.task: rate for rate in own}
    for name in by_name:
        if name not in tasks:
            raise UsageError(f"--rate names {printable(name)}, which is not served", f"choose from: {', '.join(tasks)}")
    missing = [task for task in tasks if task not in by_name]
    if missing and bare is None:
        raise UsageError(
            f"task {missing[0]} has no rate",
            f"give it one with --rate {missing[0]}=N, give --rate N for all others, or leave it out with --tasks",
        )
    rest = Fraction(0) if bare is None else Fraction(repr(bare))
    return tuple(by_name.get(task) or TaskRate(task, rest) for task in tasks)


def _of_task(task: str, rest: str, text: str) -> TaskRate:
    number, *options = rest.split(",")
    made = TaskRate(task, _rate(number, text))
    for option in options:
        name, _, value = option.partition("=")
        deadline = _DEADLINE.fullmatch(value)
        if name == "priority" and _PRIORITY.fullmatch(value):
            made = dataclasses.replace(made, priority=int(value))
        elif name == "deadline" and deadline and float(deadline[1]) > 0:
            seconds = float(deadline[1]) / (1000 if deadline[2] == "ms" else 1)
            made = dataclasses.replace(made, deadline_s=seconds)
        else:
            raise UsageError(
                f"--rate {printable(text)} is not understood at {printable(option)!r}", f"write it {EXAMPLE}"
            )
    if made.deadline_s is not None and made.deadline_s > 1 / made.rate_hz:
        raise UsageError(
            f"task {printable(task)} is due again {float(1 / made.rate_hz):.4g} s later, before its deadline of "
            f"{made.deadline_s:.4g} s",
            "give a shorter deadline, or leave it out",
        )
    return made


def _rate(number: str, text: str) -> Fraction:
    if not _NUMBER.fullmatch(number) or not 0 < Fraction(number) <= MOST_HZ:
        raise UsageError(
            f"--rate is {printable(text)}", f"give a positive number of frames a second, up to {MOST_HZ}, {EXAMPLE}"
        )
    return Fraction(number)
