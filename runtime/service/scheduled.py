"""The loop where tasks have rates of their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft.bundle.manifest import Manifest
from multigraft.devices.power.power import find_power_meter
from multigraft.devices.thermal import Thermal
from multigraft.errors import ConfigurationError, MultigraftError
from multigraft.runtime.deploy.trial import read_trial
from multigraft.runtime.result import Result
from multigraft.runtime.scheduling.admission import Verdict, admit_of_cameras
from multigraft.runtime.scheduling.budget import Budget
from multigraft.runtime.scheduling.measuring import measure_times
from multigraft.runtime.scheduling.rates import TaskRate, rates_of
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import Times
from multigraft.runtime.service.journal import INFO, NOTICE, WARNING
from multigraft.runtime.service.loop import WAIT_S, Loop
from multigraft.runtime.service.settings import Settings
from multigraft.runtime.turns import Turn
from multigraft.tensors.preparation import Preparation, blank_frame

ATTEMPTS = 3
"""Measurements, each of which has to find that rates do not fit: a machine that starts is busy with other things."""
PAUSE_S = 5.0
"""Between two of them."""
TOLD_EVERY_S = 60.0
"""Misses are told in the log at most so often."""


@dataclass(frozen=True)
class Schedule:
    """What is asked of the loop.

    Attributes:
        rates: A rate for each task.
        allow_miss: Start although the rates do not fit this machine.
        most_w: Watts above which rates are lowered.
        most_c: Degrees Celsius, in the same way.
        gives_way: The bundle is on trial, and another is there to be served in its place.
    """

    rates: tuple[TaskRate, ...]
    allow_miss: bool = False
    most_w: float | None = None
    most_c: float | None = None
    gives_way: bool = False


class RatesError(ConfigurationError):
    """Tasks' rates do not fit this machine."""


class ScheduledLoop(Loop):
    """Answers each task at its rate; before the first answer it measures whether this machine can.

    Args:
        schedule: What is wanted.
        parts: Those of :class:`~multigraft.runtime.service.loop.Loop`.
    """

    def __init__(self, schedule: Schedule, *parts: Any) -> None:
        super().__init__(*parts)
        self._schedule = schedule
        self._rota: Rota | None = None
        self._budget = Budget(schedule.rates, schedule.most_w, schedule.most_c)
        self._told: tuple[float, Counter[str]] = (time.monotonic(), Counter())
        self._figures.schedule = self.figures

    def run(self) -> int:
        """Answer frames, as :meth:`Loop.run` does.

        Raises:
            ConfigurationError: The rates do not fit this machine, or what :meth:`Loop.run` raises.
            MultigraftError: The rates do not fit, and after some starts another bundle is served.
        """
        try:
            return super().run()
        except RatesError as error:
            if self._schedule.gives_way:
                raise MultigraftError(error.problem, error.remedy) from error
            raise

    def figures(self) -> dict[str, Any]:
        """Task to its rate of now, and deadlines met and missed."""
        rota = self._rota
        if rota is None:
            return {}
        return {
            rate.task: {
                "rate_hz": float(rate.rate_hz),
                "met": rota.met[rate.task],
                "missed": rota.missed[rate.task],
            }
            for rate in rota.rates
        }

    def look(self, readings: dict[str, Any]) -> None:
        """Once a second, from any thread: what the machine draws, and how warm it is."""
        rota = self._rota
        if rota is None:
            return
        watts = [reading["watts"] for reading in readings["power"]]
        change = self._budget.look(sum(watts) if watts else None, readings["temperature_c"])
        if change is not None:
            rota.change(change.rates)
            self._journal.write(NOTICE, "rates_raised" if change.is_raise else "rates_lowered", change.why)

    def start(self, times: Times) -> None:
        """Begin with what tasks take."""
        self._rota = Rota(self._schedule.rates, times.bound_s)
        self._pace = self._rota

    def newest(self, first: Any = None) -> Callable[[], Any]:
        """What gives the newest frame, again and again where there is none newer; ``first`` before any.

        Where there are several cameras, the newest of each; a blank one of a camera that gave none.
        """
        last = first
        if isinstance(first, Mapping):
            last = {task: blank_frame(self._inputs(task)) for tasks in self._frames.cameras for task in tasks} | {
                **first
            }

        def take() -> Any:
            nonlocal last
            has_frame, frame = self._frames.take(WAIT_S if last is None else 0.0)
            if has_frame:
                last = {**last, **frame} if isinstance(last, Mapping) else frame
            return last

        return take

    def _inputs(self, task: str) -> Preparation:
        return self._engine.manifest.inputs_of(task)[0].preprocessing

    def _take(self, wait_s: float) -> tuple[bool, Any]:
        # A task that is due may have had no frame yet, as its camera is slower than another.
        if wait_s > 0 and self._rota is not None and self._rota.pending and len(self._frames.cameras) > 1:
            wait_s = min(wait_s, WAIT_S) if self._requests.is_empty else 0.0
            return self._frames.take(wait_s, self._rota.pending)
        return super()._take(wait_s)

    def _ask(self, frame: Any) -> Iterator[tuple[Any, Result]]:
        rota = self._rota
        if rota is None:
            times = self._admitted(frame)
            if times is not None:
                self.start(times)
            return
        turns = [(frame, Turn(self._engine, frame))]
        failure: Exception | None = None
        while (task := rota.next(lambda task: self._turn_of(task, turns) is not None)) is not None:
            turn = self._turn_of(task, turns)
            assert turn is not None
            try:
                turn.ask(task)
            except Exception as error:
                rota.drop(task)
                failure = error
                break
            rota.done(task)
            if rota.is_due and self._frames.has_frame():
                break
        for shown, turn in turns:
            if turn.answers:
                yield shown, turn.result()
        if failure is not None:
            raise failure

    def _turn_of(self, task: str, turns: list[tuple[Any, Turn]]) -> Turn | None:
        """The turn of a task's camera, whose frame is taken for it; None where none waits."""
        for frame, turn in turns:
            if not isinstance(frame, Mapping) or task in frame:
                return turn
        has_frame, frame = self._frames.take(0.0, (task,))
        if has_frame:
            turns.append((frame, Turn(self._engine, frame)))
        return turns[-1][1] if has_frame else None

    def _admitted(self, frame: Any) -> Times | None:
        """What tasks take here, if their rates fit; None where the loop is to end meanwhile.

        Raises:
            RatesError: They do not fit.
        """
        tasks = [rate.task for rate in self._schedule.rates]
        for attempt in range(ATTEMPTS):
            began, steps = time.monotonic(), {key: camera.steps for key, camera in self._frames.cameras.items()}
            times = measure_times(self._engine, self.newest(frame), tasks, each=self._is_ending).apart(steps)
            if self._code is not None:
                return None
            spent_s = time.monotonic() - began
            camera_hz = {
                task: (camera.steps - steps[key]) / spent_s
                for key, camera in self._frames.cameras.items()
                if camera.is_live and camera.is_up
                for task in key or tasks
            }
            verdict = admit_of_cameras(self._schedule.rates, times, camera_hz)
            if verdict.fits or self._schedule.allow_miss:
                said = verdict.sentence() if verdict.fits else f"{verdict.sentence()}; {verdict.remedy()}"
                self._journal.write(INFO if verdict.fits else WARNING, "admitted", said)
                return times
            if attempt < ATTEMPTS - 1:
                self._rest(PAUSE_S)
        raise refusal(verdict)

    def _is_ending(self) -> bool:
        self._notifier.alive()
        return self._code is not None

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_ending() and time.monotonic() < end:
            time.sleep(WAIT_S)

    def _tell(self) -> None:
        super()._tell()
        since, before = self._told
        if self._rota is None or time.monotonic() - since < TOLD_EVERY_S:
            return
        missed = Counter(self._rota.missed)
        new = missed - before
        self._told = time.monotonic(), missed
        if new:
            told = ", ".join(f"{task} {count}" for task, count in sorted(new.items()))
            self._journal.write(WARNING, "deadlines_missed", f"missed deadlines of the last minute: {told}")


def refusal(verdict: Verdict) -> RatesError:
    """The error of rates that do not fit."""
    return RatesError(verdict.sentence(), f"{verdict.remedy()}; --allow-miss serves it all the same")


def schedule_of(settings: Settings, manifest: Manifest, folder: Path) -> Schedule | None:
    """What the settings ask of a loop; None where all tasks are asked of every frame.

    Args:
        settings: What to serve, and how.
        manifest: Of the bundle.
        folder: The bundle.

    Raises:
        UsageError: A task has no rate, or one has that is not served.
        ConfigurationError: What is limited cannot be measured here.
    """
    limits = settings.most_w is not None or settings.most_c is not None
    if not settings.task_rates and not limits:
        return None
    if settings.most_w is not None:
        meter, reason = find_power_meter()
        if meter is None:
            raise ConfigurationError(f"--max-power needs a power sensor ({reason})", "leave it out, or connect one")
    if settings.most_c is not None and Thermal().temperature_c() is None:
        raise ConfigurationError("--max-temperature needs a thermal zone, and this system has none", "leave it out")
    tasks = settings.tasks or tuple(task.name for task in manifest.tasks)
    rates = rates_of(settings.rate_hz, settings.task_rates, tasks)
    good = read_trial(settings.state).good
    gives_way = settings.bundle is None and folder.name not in good and bool(good)
    return Schedule(rates, settings.allow_miss, settings.most_w, settings.most_c, gives_way)
