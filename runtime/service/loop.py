"""The loop: a frame, its answers, the watchdog; and in between, what clients ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from multigraft.errors import ConfigurationError, DeviceError, InputError, MultigraftError
from multigraft.runtime.answers import Answer
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import frame_of
from multigraft.runtime.result import Result
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames
from multigraft.runtime.service.journal import ERROR, Journal
from multigraft.runtime.service.notify import Notifier
from multigraft.runtime.service.offloaded import Offloaded
from multigraft.runtime.service.window import Window

WAIT_S = 0.2
"""For a frame, before it is seen whether the loop is to end."""
STATUS_S = 5.0
MOST_FAILURES = 10
"""Frames in a row that the interpreter may fail on; a new one is needed then."""


class Paced(Protocol):
    """Says when a frame is wanted."""

    def wait_s(self) -> float:
        """Seconds until then; 0 if it is now."""
        ...

    def begin(self) -> None:
        """One was taken."""
        ...


class Loop:
    """Answers frames until :meth:`end` is called.

    Args:
        engine: Used by this loop alone.
        tasks: Those to answer; None for all.
        frames: Of the cameras.
        pace: When the next frame is wanted.
        figures: Counts.
        requests: What clients ask for.
        window: Shows; None where nobody can look.
        notifier: systemd; its watchdog is fed while every camera gives frames or is looked for.
        journal: The log.
        each: Is called after every frame.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: tuple[str, ...] | None,
        frames: Frames,
        pace: Paced,
        figures: Figures,
        requests: Requests,
        window: Window | None,
        notifier: Notifier,
        journal: Journal,
        each: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._tasks, self._frames = engine, tasks, frames
        self._pace: Paced = pace
        self._figures, self._requests, self._window = figures, requests, window
        self._notifier, self._journal, self._each = notifier, journal, each
        self.answered: Callable[[Mapping[str, Answer]], None] = lambda answers: None
        """Is given every frame's answers, and must not wait."""
        self.offloaded: Offloaded | None = None
        """Asks a server; None where there is none."""
        self._bases = {task.name: task.on.task for task in engine.manifest.tasks if task.on is not None}
        self._code: int | None = None
        self._failures = 0
        self._next_status = 0.0

    def end(self, code: int) -> None:
        """End after the frame that is looked at; from any thread or from a signal handler."""
        if self._code is None:
            self._code = code

    def look(self, readings: dict[str, Any]) -> None:
        """Once a second, from any thread: what :class:`~multigraft.runtime.service.vitals.Vitals` read."""

    def run(self) -> int:
        """Answer frames.

        Returns:
            What :meth:`end` was given.

        Raises:
            ConfigurationError: The camera is none, or gives frames that the tasks do not take.
            DeviceError: A camera is not read any more.
            MultigraftError: The interpreter fails again and again.
        """
        while self._code is None:
            has_frame, frame = self._take(self._pace.wait_s())
            if has_frame:
                self._pace.begin()
                self._answer(frame)
                self._each()
            if isinstance(error := self._frames.fatal, DeviceError):
                raise error
            if error is not None:
                raise ConfigurationError(error.problem, error.remedy) from error
            self._requests.serve(self._is_due)
            # Whoever waits for a frame that does not come is not alive: a camera hangs, and a restart may help.
            if self._frames.is_moving():
                self._notifier.alive()
            self._tell()
        return self._code

    def _take(self, wait_s: float) -> tuple[bool, Any]:
        """Whether there is a frame to answer now, and it; does not wait where a client does."""
        if wait_s <= 0:
            return self._frames.take(WAIT_S if self._requests.is_empty else 0.0)
        if self._requests.is_empty:
            time.sleep(min(wait_s, WAIT_S))
        return False, None

    def _is_due(self) -> bool:
        return self._frames.has_frame() and self._pace.wait_s() <= 0

    def _answer(self, frame: Any) -> None:
        begin = time.perf_counter()
        told: list[tuple[Any, Result]] = []
        try:
            for pair in self._ask(frame):
                told.append(pair)  # One by one: what was answered before a failure is told, too.
        except ConfigurationError:
            raise
        except InputError as error:
            asked = frame if isinstance(frame, Mapping) else self._figures.times
            if not any(self._figures.times[task].count for task in asked if task in self._figures.times):
                raise ConfigurationError(error.problem, error.remedy) from error
            self._fail("frame", error)
        except MultigraftError as error:
            self._fail("answer", error)
        except (RuntimeError, ValueError) as error:
            # What the interpreter raises where a kernel fails.
            self._fail("interpreter", error)
        else:
            self._failures = 0
        for shown, result in told:
            self._figures.answered(result)
            self.answered(result.answers)
            if self._window is not None:
                self._window.show({task: frame_of(task, shown, self._bases) for task in result.answers}, result)
        if told:
            self._requests.earned(time.perf_counter() - begin)

    def _ask(self, frame: Any) -> Iterable[tuple[Any, Result]]:
        """Frames and their answers: of this one, and of what else was taken meanwhile."""
        begun = time.monotonic()
        result = self._engine.run(frame, None if isinstance(frame, Mapping) else self._tasks)
        if self.offloaded is not None:
            frames = {task: frame_of(task, frame, self._bases) for task in result.answers}
            self.offloaded.improve(frames, result, begun)
        return [(frame, result)]

    def _fail(self, kind: str, error: Exception) -> None:
        self._figures.errors[kind] += 1
        self._failures += 1
        if self._failures == 1:
            self._journal.write(ERROR, f"{kind}_failed", f"a frame was not answered: {error}")
        if self._failures >= MOST_FAILURES:
            raise MultigraftError(
                f"{MOST_FAILURES} frames in a row were not answered ({error})", "the service starts again"
            ) from error

    def _tell(self) -> None:
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + STATUS_S
            self._notifier.status(self.status())

    def status(self) -> str:
        """One line, as ``systemctl status`` shows it."""
        if not self._frames.is_up and not self._figures.frames:
            return f"waiting for the camera: {self._frames.reason}"
        is_any_up = any(camera.is_up for camera in self._frames.cameras.values())
        if not is_any_up:
            return f"the camera is gone, and is looked for: {self._frames.reason}"
        times = [t.sum / max(1, t.count) for t in self._figures.times.values()]
        line = (
            f"{self._figures.rate_hz:.1f} frames/s, {max(times, default=0.0) * 1000:.1f} ms for the slowest task, "
            f"{self._figures.frames} answered, {self._frames.dropped} dropped"
        )
        return line if self._frames.is_up else f"{line}; looked for: {self._frames.reason}"
