"""Made bundles, random task sets on them, and what became of a set that really ran."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.answers.kind import Kind
from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.runtime import Engine
from multigraft.runtime.scheduling.measuring import measure_times
from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames, Pace
from multigraft.runtime.service.journal import Journal
from multigraft.runtime.service.notify import Notifier
from multigraft.runtime.service.scheduled import Schedule, ScheduledLoop
from multigraft.runtime.turns import Turn
from multigraft.tensors.preprocessing import Frame
from tests.bundle_builder import Built, assemble
from tests.tflite_builder import Graph

SIZE = 192
FRAME = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
RATIOS = tuple(map(Fraction, ("1", "1/2", "1/3", "2/3", "1/4", "1/5", "3/5", "7/10", "1/8", "1/10")))
"""Of the fastest task's rate."""
REST_S = 0.004
"""Between measured rounds."""
STOOD_STILL_S = 0.01
"""A part that takes so much longer than its mean did not: the machine, a virtual one for instance, was elsewhere."""


class Still(SourceWithoutDevice):
    """A camera that gives one frame again and again: nothing of it takes time from the tasks."""

    name = "still"

    def __iter__(self) -> Iterator[Frame]:
        while True:
            yield FRAME


def made(trunk: int, heads: dict[str, int], middle: tuple[str, ...] = ()) -> Built:
    """A bundle of a trunk and heads that take as many convolutions as said; tasks of ``middle`` share one more part."""
    graph = Graph(seed=5)
    shared = graph.conv("in", graph.input("image", (1, SIZE, SIZE, 3)), 16, stride=2)
    segments = {"trunk": ["in"]}
    tasks: dict[str, tuple[Kind, str, tuple[str, ...]]] = {}
    shared = _chain(graph, segments["trunk"], "trunk", shared, trunk)
    forked = shared
    if middle:
        segments["middle"] = []
        forked = _chain(graph, segments["middle"], "middle", shared, 2)
    for name, count in heads.items():
        members: list[str] = []
        out = _chain(graph, members, name, forked if name in middle else shared, count)
        pooled = graph.mean(f"{name}/mean", out)
        graph.dense(f"{name}/out", pooled, 10)
        segments[f"head_{name}"] = [*members, f"{name}/mean", f"{name}/out"]
        tasks[name] = ("classification", f"{name}/out", tuple(f"{name} {i}" for i in range(10)))
    return assemble(graph, segments, tasks)


def _chain(graph: Graph, members: list[str], name: str, source: str, count: int) -> str:
    for number in range(count):
        source = graph.conv(f"{name}/conv{number}", source, 48)
        members.append(f"{name}/conv{number}")
    return source


@functools.cache
def bundles() -> dict[str, Built]:
    """By what they are."""
    return {
        "large trunk, three small heads": made(8, {"a": 1, "b": 1, "c": 1}),
        "small trunk, heads of 1, 4 and 10": made(2, {"a": 1, "b": 4, "c": 10}),
        "a trunk, a part for two of three": made(4, {"a": 2, "b": 1, "c": 3}, ("b", "c")),
        "five heads": made(4, {"a": 1, "b": 1, "c": 2, "d": 2, "e": 6}),
    }


def work_s(times: Times, ratios: Iterable[tuple[str, Fraction]]) -> float:
    """Seconds that tasks take while the fastest is due once, each after those before it.

    Args:
        times: What was measured.
        ratios: Task to its rate of the fastest one's.
    """
    total, after = 0.0, frozenset[str]()
    for task, ratio in ratios:
        total += float(ratio) * float(np.mean(times.seconds(task, after)))
        after |= {task}
    return total


def answer_due(rota: Rota, turn: Turn) -> None:
    """Ask the frame for what is due, until nothing is or a new frame is wanted."""
    while (task := rota.next()) is not None:
        turn.ask(task)
        rota.done(task)
        if rota.is_due:
            break


def drawn(numbers: random.Random, times: Times, tasks: tuple[str, ...]) -> tuple[TaskRate, ...]:
    """Random rates, priorities and deadlines: what they ask for is 0.2 to 1.1 of the time there is, more or less."""
    chosen = [task for task in tasks if numbers.random() < 0.8] or [tasks[0]]
    numbers.shuffle(chosen)
    ratios = [Fraction(1), *numbers.choices(RATIOS, k=len(chosen) - 1)]
    asked = work_s(times, zip(chosen, ratios, strict=True))
    fastest = Fraction(f"{numbers.uniform(0.2, 1.1) / asked:.3g}")
    rates = []
    for task, ratio in zip(chosen, ratios, strict=True):
        rate = ratio * fastest
        share = numbers.choice((None, None, 0.4, 0.6, 0.8))
        rates.append(TaskRate(task, rate, numbers.randrange(3), None if share is None else share * float(1 / rate)))
    return tuple(rates)


@dataclass(frozen=True)
class Ran:
    """What became of a set.

    Attributes:
        met: Deadlines, by task.
        missed: In the same way.
        frames: Turns of the loop.
        slower: What segments took meanwhile, of what they took when they were measured.
        pauses: Segments that took :data:`STOOD_STILL_S` more than their mean; 0 where that was not looked at.
    """

    met: dict[str, int]
    missed: dict[str, int]
    frames: int
    slower: float
    pauses: int = 0

    @property
    def missed_part(self) -> float:
        """Of all deadlines."""
        missed = sum(self.missed.values())
        return missed / max(1, missed + sum(self.met.values()))

    @property
    def worst_part(self) -> float:
        """Of those of the task that misses most."""
        counts = [(n, n + self.met.get(task, 0)) for task, n in self.missed.items()]
        return max((missed / whole for missed, whole in counts if whole), default=0.0)


def _slower(taken: Mapping[str, tuple[float, int]], times: Times) -> float:
    """Part to seconds and how often."""
    return sum(s for s, _ in taken.values()) / sum(n * times.mean_s(part) for part, (_, n) in taken.items())


class Service:
    """The service's own loop on a still picture.

    Args:
        engine: Of a bundle.
        tasks: Those to answer.
    """

    def __init__(self, engine: Engine, tasks: tuple[str, ...]) -> None:
        self._engine, self._tasks = engine, tasks

    def __enter__(self) -> Self:
        self._figures = Figures(self._engine.manifest, self._tasks)
        self._frames = Frames({(): Still()})
        requests = Requests(self._engine, self._figures.requests)
        self._parts = (
            self._engine, None, self._frames, Pace(None), self._figures, requests, None, Notifier({}), Journal({}),
        )  # fmt: skip
        self._frames.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.stop()

    def measure(self, rounds: int) -> Times:
        """What its tasks take."""
        loop = ScheduledLoop(Schedule(()), *self._parts)
        return measure_times(self._engine, loop.newest(), self._tasks, rounds, rest_s=REST_S)

    def run(self, rates: tuple[TaskRate, ...], times: Times, seconds: float) -> Ran:
        """Let it answer for so long, once."""
        loop = ScheduledLoop(Schedule(rates), *self._parts)
        loop.start(times)
        timer = threading.Timer(seconds, loop.end, (0,))
        timer.start()
        loop.run()
        told = loop.figures()
        return Ran(
            {task: known["met"] for task, known in told.items()},
            {task: known["missed"] for task, known in told.items()},
            self._figures.frames,
            self._slower(times),
        )

    def _slower(self, times: Times) -> float:
        expected = taken = 0.0
        for task in self._tasks:
            known = self._figures.times[task]
            segments = self._engine.manifest.task(task).segments
            expected += known.count * sum(times.mean_s(name) for name in segments)
            taken += known.sum
        return taken / expected if expected else 1.0


class OnPaper:
    """The same rota on the same interpreter without the service: its clock is the processor time of this thread.

    What other processes take is not counted, and waiting takes no time, so a busy machine judges as an idle one does.

    Args:
        engine: Of a bundle.
        tasks: Those to answer.
    """

    def __init__(self, engine: Engine, tasks: tuple[str, ...]) -> None:
        self._engine, self._tasks = engine, tasks
        self._waited_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def measure(self, rounds: int) -> Times:
        """What its tasks take."""
        return measure_times(
            self._engine, lambda: FRAME, self._tasks, rounds, 600.0, rest_s=0.0, now=time.thread_time_ns
        )

    def _clock(self) -> float:
        return time.thread_time() + self._waited_s

    def run(self, rates: tuple[TaskRate, ...], times: Times, seconds: float) -> Ran:
        """Let it answer for so long, of its own clock."""
        rota = Rota(rates, times.bound_s, self._clock)
        end, frames, pauses = self._clock() + seconds, 0, 0
        taken: dict[str, tuple[float, int]] = {}
        while self._clock() < end:
            self._waited_s += rota.wait_s()
            rota.begin()
            turn = Turn(self._engine, FRAME, time.thread_time_ns)
            answer_due(rota, turn)
            frames += 1
            for part, us in turn.times_us.items():
                total, count = taken.get(part, (0.0, 0))
                taken[part] = total + us / 1e6, count + 1
                pauses += us / 1e6 > times.mean_s(part) + STOOD_STILL_S
        return Ran(dict(rota.met), dict(rota.missed), frames, _slower(taken, times), pauses)
