"""One load under three schedulers on one core: the rota, earliest deadline first a task at a time, a process a task.

Deadlines met, answers a second and processor time; joules where this machine has a sensor.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.devices.power.power import PowerMeter, find_power_meter
from multigraft.runtime import Engine
from multigraft.runtime.machine import Machine
from multigraft.runtime.scheduling.admission import play
from multigraft.runtime.scheduling.measuring import measure_times
from multigraft.runtime.scheduling.rates import TaskRate, parse_rates, spelt
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.turns import Turn
from tests.benchmarks.scheduling.scheduled_sets import FRAME, answer_due, bundles, work_s

SECONDS = 12.0
BUNDLE = "five heads"
SHAPE = (("a", 1, ""), ("b", "1/2", ""), ("c", "1/2", ",priority=1"), ("d", "1/5", ""), ("e", "1/10", ""))
"""Task, its rate of the fastest one's, and what else is asked of it."""
LOADS = (0.4, 0.6, 0.8, 1.0)
"""Of the core, with shared segments."""
NICE_STEP = 1.25
"""What one step of niceness makes of a process's share of a core (sched(7))."""

Told = tuple[dict[str, list[int]], float]
"""Task to deadlines met and missed; and seconds of the processor in other processes."""


def show(folder: Path) -> None:
    """Print a table: each load under each scheduler."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    built = bundles()[BUNDLE]
    path = folder / "home.graft"
    built.bundle.write(path)
    engine = Engine(path)
    tasks = [task for task, _, _ in SHAPE]
    times = measure_times(engine, lambda: FRAME, tasks)
    meter, reason = find_power_meter()
    rows = []
    for load in LOADS:
        rates = _rates(load, times)
        said = play(rates, times)
        verdict = "fits" if said.fits else "does not fit"
        ways: dict[str, Callable[[], Told]] = {
            "rota": functools.partial(_together, engine, rates, times),
            "earliest deadline first, each task whole": functools.partial(_whole, engine, rates, times),
            "a process for each task": functools.partial(_processes, path, rates, folder),
        }
        print(f"{load:.0%} of the core is {spelt(rates)}, admission says: {said.sentence()}.")
        rows += [_row(f"{load:.0%}, {verdict}", way, run, meter) for way, run in ways.items()]
    print_table(
        f"{len(SHAPE)} tasks on one core, {SECONDS:g} s each; {Machine.here(engine.model.backend)}, one thread; load "
        f"of the machine {os.getloadavg()[0]:.1f}",
        ("load", "scheduler", "deadlines", "met", "worst task", "answers/s in time", "processor s", "joules"),
        rows,
    )
    if meter is None:
        print(f"Energy: not measured: {reason}.")


def _rates(load: float, times: Times) -> tuple[TaskRate, ...]:
    asked = work_s(times, [(task, Fraction(ratio)) for task, ratio, _ in SHAPE])
    return parse_rates([f"{t}={float(Fraction(r)) * load / asked:.4g}{more}" for t, r, more in SHAPE])[1]


def _row(load: str, way: str, run: Callable[[], Told], meter: PowerMeter | None) -> list[str]:
    before = time.process_time()
    with _counting(meter) as joules:
        told, others_s = run()
        spent_j = joules()
    met, missed = (sum(counts[i] for counts in told.values()) for i in (0, 1))
    worst = min(told.items(), key=lambda item: item[1][0] / max(1, sum(item[1])))
    energy = "not measured" if spent_j is None else f"{spent_j:.1f}"
    return [
        load, way, str(met + missed), f"{met / (met + missed):.1%}",
        f"{worst[0]} {worst[1][0] / max(1, sum(worst[1])):.1%}", f"{met / SECONDS:.1f}",
        f"{time.process_time() - before + others_s:.1f}", energy,
    ]  # fmt: skip


@contextlib.contextmanager
def _counting(meter: PowerMeter | None) -> Iterator[Callable[[], float | None]]:
    if meter is None:
        yield lambda: None
        return
    with meter:
        yield meter.energy_j


def _together(engine: Engine, rates: Sequence[TaskRate], times: Times) -> Told:
    return _driven(engine, Rota(rates, times.bound_s), SECONDS)


def _whole(engine: Engine, rates: Sequence[TaskRate], times: Times) -> Told:
    """Nothing shared, no pauses; each task has ticks of its own, so that none waits for a frame of another."""
    rotas = {rate.task: Rota([rate], lambda task, ran: times.bound_s(task), is_looking_ahead=False) for rate in rates}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for rota in rotas.values():
            if rota.wait_s() <= 0:
                rota.begin()
        due = [(rota.deadline_s(task), task) for task, rota in rotas.items() if rota.next() is not None]
        if not due:
            time.sleep(max(0.0, min(rota.wait_s() for rota in rotas.values())))
            continue
        _, task = min(due)
        engine.run(FRAME, (task,))
        rotas[task].done(task)
    return {task: [rota.met[task], rota.missed[task]] for task, rota in rotas.items()}, 0.0


def _driven(engine: Engine, rota: Rota, seconds: float) -> Told:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(rota.wait_s())
        if not rota.is_due:
            continue
        rota.begin()
        answer_due(rota, Turn(engine, FRAME))
    return {rate.task: [rota.met[rate.task], rota.missed[rate.task]] for rate in rota.rates}, 0.0


def _processes(bundle: Path, rates: Sequence[TaskRate], folder: Path) -> Told:
    """Each begins once all have loaded their bundle; together they weigh as much as one process against others."""
    start = folder / "start"
    start.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tests.benchmarks.scheduling.schedulers", str(bundle), str(start)]
    nicer = round(math.log(len(rates), NICE_STEP))
    started = []
    for rate in rates:
        asked = [rate.task, str(rate.rate_hz), str(SECONDS), str(nicer)]
        started.append(subprocess.Popen([*words, *asked], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    start.touch()
    told = {rate.task: json.loads(p.communicate()[0]) for rate, p in zip(rates, started, strict=True)}
    return {task: counts for task, (counts, _) in told.items()}, sum(spent for _, spent in told.values())


def _one(bundle: str, start: str, task: str, hertz: str, seconds: str, nicer: str) -> None:
    """What one of those processes does."""
    os.nice(int(nicer))
    engine = Engine(bundle)
    for _ in range(20):
        engine.run(FRAME, (task,))
    print("ready", flush=True)
    while not Path(start).exists():
        time.sleep(0.01)
    rate = TaskRate(task, Fraction(hertz))
    before = time.process_time()
    told, _ = _driven(engine, Rota([rate], lambda name, ran: 0.0), float(seconds))
    print(json.dumps([told[task], time.process_time() - before]))


if __name__ == "__main__":
    _one(*sys.argv[1:])
