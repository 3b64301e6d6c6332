"""The loop: a frame, its answers, the watchdog; and in between, what clients ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from multigraft.errors import ConfigurationError, InputError, MultigraftError
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import frame_of
from multigraft.runtime.result import Result
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames
from multigraft.runtime.service.journal import ERROR, Journal
from multigraft.runtime.service.notify import Notifier
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
        frames: The camera.
        pace: When the next frame is wanted.
        figures: Counts.
        requests: What clients ask for.
        window: Shows; None where nobody can look.
        notifier: systemd; its watchdog is fed when a frame was answered, or while there is no camera to wait for.
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
            MultigraftError: The interpreter fails again and again.
        """
        while self._code is None:
            wait_s = self._pace.wait_s()
            has_frame = False
            if wait_s <= 0:
                has_frame, frame = self._frames.take(WAIT_S if self._requests.is_empty else 0.0)
            elif self._requests.is_empty:
                time.sleep(min(wait_s, WAIT_S))
            if has_frame:
                self._pace.begin()
                self._answer(frame)
                self._each()
            elif self._frames.fatal is not None:
                error = self._frames.fatal
                raise ConfigurationError(error.problem, error.remedy) from error
            self._requests.serve(self._is_due)
            # Whoever waits for a frame that does not come is not alive: the camera hangs, and a restart may help.
            if has_frame or wait_s > 0 or self._frames.is_pausing:
                self._notifier.alive()
            self._tell()
        return self._code

    def _is_due(self) -> bool:
        return self._frames.has_frame and self._pace.wait_s() <= 0

    def _answer(self, frame: Any) -> None:
        begin = time.perf_counter()
        try:
            result = self._ask(frame)
        except ConfigurationError:
            raise
        except InputError as error:
            if not self._figures.frames:
                raise ConfigurationError(error.problem, error.remedy) from error
            self._fail("frame", error)
            return
        except MultigraftError as error:
            self._fail("answer", error)
            return
        except (RuntimeError, ValueError) as error:
            # What the interpreter raises where a kernel fails.
            self._fail("interpreter", error)
            return
        self._failures = 0
        if result is None:
            return
        self._figures.answered(result)
        if self._window is not None:
            shown = {task: frame_of(task, frame, self._bases) for task in result.answers}
            self._window.show(shown, result)
        self._requests.earned(time.perf_counter() - begin)

    def _ask(self, frame: Any) -> Result | None:
        """What the frame gives; None where nothing was asked of it."""
        return self._engine.run(frame, self._tasks)

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
        if not self._frames.is_up:
            return f"the camera is gone, and is looked for: {self._frames.reason}"
        times = [t.sum / max(1, t.count) for t in self._figures.times.values()]
        return (
            f"{self._figures.rate_hz:.1f} frames/s, {max(times, default=0.0) * 1000:.1f} ms for the slowest task, "
            f"{self._figures.frames} answered, {self._frames.dropped} dropped"
        )
