"""Frames for a loop that never ends: the newest one, and the camera looked for again when it vanishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.returning import RETURNED, Outage, ReturningCamera
from multigraft.devices.cameras.slot import Slot
from multigraft.errors import DeviceError, MultigraftError


class Frames:
    """Reads a camera in a thread of its own.

    Of a live camera the newest frame is kept, and the one that lay there is dropped and counted. A source that is no
    camera (files, a fake) waits until its frame was taken, drops nothing, and begins again at its end.

    Args:
        camera: Not yet open; entered again after it was lost
            (:class:`~multigraft.devices.cameras.returning.ReturningCamera`).
        is_live: Whether frames come whether they are taken or not.
        say: Is told in a sentence that the camera was lost (False) or is there again (True).
    """

    def __init__(
        self, camera: Camera, is_live: bool, say: Callable[[bool, str], None] = lambda up, sentence: None
    ) -> None:
        self._camera = ReturningCamera(
            _Endless(camera, is_live), True, self._pause, self._lost, lambda: say(True, RETURNED)
        )
        self._is_live, self._say = is_live, say
        self._slot = Slot[Any]()
        self._stopped = threading.Event()
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
        frame = self._slot.take(wait_s)
        return frame is not None, frame

    @property
    def has_frame(self) -> bool:
        """Whether one waits to be taken."""
        return self._slot.is_full

    @property
    def dropped(self) -> int:
        """Frames that nobody took."""
        return self._slot.dropped

    @property
    def losses(self) -> int:
        """How often the camera vanished."""
        return self._camera.losses

    def stop(self, wait_s: float = 3.0) -> None:
        """Give the camera back; one that hangs is left alone."""
        self._stopped.set()
        self._slot.close()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            with self._camera as camera:
                for frame in camera:
                    if not self._slot.put(frame, is_patient=not self._is_live):
                        return
                    self.is_up, self.reason = True, ""
                    self.steps += 1
        except _StoppedError:
            pass
        except MultigraftError as error:
            self.fatal = error

    def _lost(self, outage: Outage) -> None:
        if outage.attempt == 1:
            self._say(False, str(outage))
        self.is_up, self.reason = False, str(outage.error)
        self.steps += 1

    def _pause(self, seconds: float) -> None:
        self.is_pausing = True
        try:
            if self._stopped.wait(seconds):
                raise _StoppedError
        finally:
            self.is_pausing = False


class _StoppedError(Exception):
    """Nobody looks for the camera any more."""


class _Endless:
    """Camera adapter: files begin again at their end, which for a camera is a loss."""

    def __init__(self, camera: Camera, is_live: bool) -> None:
        self._camera, self._is_live = camera, is_live

    @property
    def name(self) -> str:
        return self._camera.name

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Any]:
        has_frames = True
        while has_frames:
            has_frames = False
            for frame in self._camera:
                yield frame
                has_frames = not self._is_live
        raise DeviceError("the camera gives no frames any more", "check its cable and its power")


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
