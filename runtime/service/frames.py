"""Frames for a loop that never ends: the newest one, and the camera looked for again when it vanishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from multigraft.devices.cameras.camera import Camera
from multigraft.errors import ConfigurationError, InputError, MissingDependencyError, MultigraftError, UsageError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between two attempts to open the camera; each is twice the one before."""


class Frames:
    """Reads a camera in a thread of its own.

    Of a live camera the newest frame is kept, and the one that lay there is dropped and counted. A source that is no
    camera (files, a fake) waits until its frame was taken, drops nothing, and begins again at its end.

    Args:
        open_camera: Makes the camera; called again after it was lost.
        is_live: Whether frames come whether they are taken or not.
        say: Is told in a sentence that the camera was lost (False) or is there again (True).
    """

    def __init__(
        self, open_camera: Callable[[], Camera], is_live: bool, say: Callable[[bool, str], None] = lambda up, s: None
    ) -> None:
        self._open, self._is_live, self._say = open_camera, is_live, say
        self._changed = threading.Condition()
        self._frame: Any = None
        self._has_frame = False
        self._stopped = threading.Event()
        self.dropped = 0
        self.losses = 0
        self.is_up = False
        self.is_pausing = False
        """Between two attempts: nothing hangs, there is just no camera."""
        self.steps = 0
        """Grows with every frame and every attempt."""
        self.reason = "the camera was not opened yet"
        self.fatal: MultigraftError | None = None
        """What no further attempt can mend."""
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self, wait_s: float) -> tuple[bool, Any]:
        """Whether a frame came within that time, and the frame."""
        with self._changed:
            if not self._has_frame:
                self._changed.wait(wait_s)
            if not self._has_frame:
                return False, None
            frame, self._frame, self._has_frame = self._frame, None, False
            self._changed.notify_all()
            return True, frame

    @property
    def has_frame(self) -> bool:
        """Whether one waits to be taken."""
        return self._has_frame

    def stop(self, wait_s: float = 3.0) -> None:
        """Give the camera back; one that hangs is left alone."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        pause_s, had_frames = FIRST_PAUSE_S, False
        while not self._stopped.is_set():
            before = self.steps
            try:
                with self._open() as camera:
                    for frame in camera:
                        self._put(frame)
                        had_frames = True
                        if self._stopped.is_set():
                            return
                if not self._is_live and self.steps > before:
                    continue
                problem = "the camera gives no frames any more"
            except (ConfigurationError, InputError, MissingDependencyError, UsageError) as error:
                if not had_frames:
                    self.fatal = error
                    return
                problem = str(error)
            except Exception as error:
                # Drivers raise what they like when a cable is pulled.
                problem = str(error) or type(error).__name__
            if self.steps > before:
                pause_s = FIRST_PAUSE_S
            self._lost(problem)
            self._pause(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _put(self, frame: Any) -> None:
        with self._changed:
            if self._has_frame and self._is_live:
                self.dropped += 1
            while self._has_frame and not self._is_live and not self._stopped.is_set():
                self._changed.wait()
            self._frame, self._has_frame = frame, True
            self.steps += 1
            self._changed.notify_all()
        if not self.is_up:
            self.is_up, self.reason = True, ""
            if self.losses:
                self._say(True, "the camera gives frames again")

    def _lost(self, problem: str) -> None:
        if self.is_up or not self.losses:
            self.losses += 1
            self._say(False, problem)
        self.is_up, self.reason = False, problem
        self.steps += 1

    def _pause(self, seconds: float) -> None:
        self.is_pausing = True
        try:
            self._stopped.wait(seconds)
        finally:
            self.is_pausing = False


class Pace:
    """Holds a loop to at most so many rounds a second, without making up for what was missed.

    Args:
        rate_hz: The most; None for as many as there are.
        clock: Seconds, monotonic.
    """

    def __init__(self, rate_hz: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / rate_hz if rate_hz else 0.0
        self._clock = clock
        self._due = clock()

    def wait_s(self) -> float:
        """Seconds until the next round; 0 if it is due."""
        return max(0.0, self._due - self._clock())

    def begin(self) -> None:
        """A round begins now."""
        now = self._clock()
        self._due = max(now, self._due + self._interval_s) if self._interval_s else now
