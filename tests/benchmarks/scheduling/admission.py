"""Whether the admission test says the truth: random task sets, judged, and then run whatever it said.

The service measures again before it refuses, and so does this. Borne out is an admitted set that misses under 1 % of
its deadlines, and a refused one of which a task misses 1 % or more. A refused one that does not is run once more at
rates 2 % higher, with deadlines as much shorter: admission keeps a reserve of 1 %, and what misses there was refused
for it. Both counts are told.
A set is measured, judged and run again, whatever came of it, if the machine stood still meanwhile, or if it became
faster or slower by more than that reserve and admission at that speed says another thing: nothing measured before tells
what a machine will do. How often is told.
MULTIGRAFT_SETS is how many (200), MULTIGRAFT_SET_SECONDS how long each runs (5), MULTIGRAFT_SET_SEED which (12). With
MULTIGRAFT_SET_CLOCK=cpu time is processor time, so that others on the machine change nothing; without, the service's
own loop runs in real time.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.runtime import Engine, heap
from multigraft.runtime.machine import Machine
from multigraft.runtime.scheduling.admission import MOST_MISSED, RESERVE, Verdict, play
from multigraft.runtime.scheduling.measuring import ROUNDS
from multigraft.runtime.scheduling.rates import TaskRate, spelt
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.service.scheduled import ATTEMPTS
from tests.benchmarks.scheduling.scheduled_sets import STOOD_STILL_S, OnPaper, Ran, Service, bundles, drawn

HARDER = Fraction(1) + 2 * Fraction(str(RESERVE))
"""A set that was refused and ran is run at rates so much higher."""
STEADY = RESERVE
"""How much the times of a run may differ from the measured ones on the mean, if the verdict depends on it."""
TRIES = 8


@dataclass(frozen=True)
class Judged:
    """A set, what was said of it, what became of it, and how often the machine's own speed had moved before.

    Attributes:
        unsteady: Whether the last run was on a machine of another speed, too.
        harder: What became of a refused set that ran, at rates :data:`HARDER` times as high.
    """

    number: int
    bundle: str
    verdict: Verdict
    ran: Ran
    load: float
    repeated: int
    unsteady: bool
    harder: Ran | None = None

    @property
    def is_right(self) -> bool:
        """Admitted and under the limit, or refused and a task above it."""
        return self.ran.missed_part < MOST_MISSED if self.verdict.fits else self.ran.worst_part >= MOST_MISSED

    @property
    def is_within_reserve(self) -> bool:
        """Refused although it ran, and it did not at slightly higher rates."""
        return self.harder is not None and self.harder.worst_part >= MOST_MISSED


def show(folder: Path) -> None:
    """Print how many verdicts were right, and each that was not."""
    sets, seconds = int(os.environ.get("MULTIGRAFT_SETS", 200)), float(os.environ.get("MULTIGRAFT_SET_SECONDS", 5))
    numbers = random.Random(int(os.environ.get("MULTIGRAFT_SET_SEED", 12)))
    engines = {name: Engine(built.bundle) for name, built in bundles().items()}
    heap.settle()
    judged = [_judged(n, *numbers.choice(list(engines.items())), numbers, seconds) for n in range(sets)]
    machine = Machine.here(next(iter(engines.values())).model.backend)
    print_table(
        f"admission of {sets} random task sets, each run for {seconds:g} s afterwards; {machine}, one thread",
        ("said", "sets", "deadlines", "borne out", "for the reserve", "not borne out", "median missed", "most missed"),
        [
            _row("admitted", [j for j in judged if j.verdict.fits]),
            _row("refused", [j for j in judged if not j.verdict.fits]),
        ],
    )
    wrong = [j for j in judged if not j.is_right]
    print_table(
        "verdicts that were not borne out, and those for the reserve",
        ("set", "bundle", "rates", "said", "foreseen", "missed", "worst task", "times of those measured", "load"),
        [
            (
                str(j.number), j.bundle, spelt(j.verdict.rates), "fits" if j.verdict.fits else "does not fit",
                f"{max(j.verdict.missed.values()):.1%}", f"{j.ran.missed_part:.1%}", f"{j.ran.worst_part:.1%}",
                f"{j.ran.slower:.2f}", f"{j.load:.1f}",
            )
            for j in wrong
        ],
    )  # fmt: skip
    print(
        f"Run again since the verdict at the machine's later speed, moved by more than {STEADY:.0%}, was another, or "
        f"since a part took {STOOD_STILL_S * 1000:g} ms longer than it does: {sum(j.repeated for j in judged)} times, "
        f"of {sum(j.repeated > 0 for j in judged)} sets; {sum(j.unsteady for j in judged)} to the end."
    )
    loads = sorted(j.load for j in judged)
    print(
        f"Load of the machine meanwhile: {loads[0]:.1f} to {loads[-1]:.1f}, {loads[len(loads) // 2]:.1f} in the middle."
    )


def _judged(number: int, name: str, engine: Engine, numbers: random.Random, seconds: float) -> Judged:
    tasks = tuple(task.name for task in engine.manifest.tasks)
    runner = OnPaper if os.environ.get("MULTIGRAFT_SET_CLOCK") == "cpu" else Service
    with runner(engine, tasks) as service:
        times = service.measure(ROUNDS)
        rates = drawn(numbers, times, tasks)
        repeated = 0
        while True:
            verdict = play(rates, times.longer(1 + RESERVE))
            for _ in range(ATTEMPTS - 1):
                if verdict.fits:
                    break
                times = service.measure(ROUNDS)
                verdict = play(rates, times.longer(1 + RESERVE))
            ran = service.run(rates, times, seconds)
            unsteady = _is_unsteady(ran, verdict, times)
            if not unsteady or repeated == TRIES - 1:
                break
            repeated += 1
            times = service.measure(ROUNDS)
        judged = Judged(number, name, verdict, ran, os.getloadavg()[0], repeated, unsteady)
        if not judged.is_right and not verdict.fits:
            judged = replace(judged, harder=service.run(_harder(rates), times, seconds))
    print(_line(judged, times), flush=True)
    return judged


def _is_unsteady(ran: Ran, verdict: Verdict, times: Times) -> bool:
    """Whether the machine was another one than that which was measured, and that matters to this set."""
    if ran.pauses:
        return True
    moved = times.longer(ran.slower * (1 + RESERVE))
    return abs(ran.slower - 1) > STEADY and play(verdict.rates, moved).fits != verdict.fits


def _harder(rates: tuple[TaskRate, ...]) -> tuple[TaskRate, ...]:
    return tuple(
        replace(r.times(HARDER), deadline_s=None if r.deadline_s is None else r.deadline_s / float(HARDER))
        for r in rates
    )


def _line(judged: Judged, times: Times) -> str:
    verdict, ran = judged.verdict, judged.ran
    said = "fits" if verdict.fits else "does not fit"
    again = f", again {judged.repeated}" if judged.repeated else ""
    found = "ok   " if judged.is_right else "close" if judged.is_within_reserve else "WRONG"
    return (
        f"{judged.number:4} {found} {spelt(verdict.rates)} {said}: foreseen "
        f"{max(verdict.missed.values()):.2%} at {verdict.load:.0%} busy, ran {ran.missed_part:.2%} "
        f"({ran.worst_part:.2%} of the worst), {ran.frames} frames, "
        f"{ran.slower:.3f} of the measured times, load {judged.load:.1f}{again}"
    )


def _row(said: str, judged: list[Judged]) -> list[str]:
    parts = sorted(j.ran.missed_part for j in judged) or [0.0]
    right, close = sum(j.is_right for j in judged), sum(j.is_within_reserve for j in judged)
    deadlines = sum(sum(j.ran.met.values()) + sum(j.ran.missed.values()) for j in judged)
    return [
        said, str(len(judged)), f"{deadlines:,}", str(right), str(close), str(len(judged) - right - close),
        f"{parts[len(parts) // 2]:.2%}", f"{parts[-1]:.2%}",
    ]  # fmt: skip
