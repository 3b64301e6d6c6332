"""Frames for a loop that never ends: the newest one of each camera, which is looked for again when it vanishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.returning import Outage, ReturningCamera, returned
from multigraft.devices.cameras.slot import Slots
from multigraft.devices.file_sources import is_live
from multigraft.errors import DeviceError, MultigraftError

Tasks = tuple[str, ...]
"""Who asks for a camera's frames; empty where one camera is for all."""


class Watched:
    """One camera, read in a thread of its own.

    Args:
        camera: Not yet open; entered again after it was lost
            (:class:`~multigraft.devices.cameras.returning.ReturningCamera`).
        is_live: Whether the newest frame is kept and others are dropped.
        put: Takes a frame; False ends the reading.
        say: Is told in a sentence that the camera was lost (False) or is there again (True).

    Attributes:
        name: The camera's.
        is_live: As given.
        is_up: Whether it gives frames.
        is_pausing: Between two attempts: nothing hangs, there is just no camera.
        steps: Grows with every frame and every attempt.
        reason: What is wrong; "" if nothing is.
        fatal: What no further attempt can mend.
        newest_s: When the last frame came, of the monotonic clock; None while there is none to wait for.
    """

    def __init__(
        self, camera: Camera, is_live: bool, put: Callable[[Any], bool], say: Callable[[bool, str], None]
    ) -> None:
        self.name, self.is_live = camera.name, is_live
        self._camera = ReturningCamera(
            _Endless(camera, is_live), True, self._pause, self._lost, lambda: say(True, returned(camera.name))
        )
        self._put, self._say = put, say
        self._stopped = threading.Event()
        self.is_up = self.is_pausing = False
        self.steps = 0
        self.newest_s: float | None = None
        self.reason = "the camera was not opened yet"
        self.fatal: MultigraftError | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def losses(self) -> int:
        """How often the camera vanished."""
        return self._camera.losses

    def end(self) -> None:
        """Read no further frame."""
        self._stopped.set()

    def join(self, wait_s: float) -> None:
        """Wait until the camera was given back; one that hangs is left alone."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, wait_s))

    def _run(self) -> None:
        try:
            with self._camera as camera:
                for frame in camera:
                    # Up before the frame can be taken: who answers it sees a camera that is there.
                    self.is_up, self.reason, self.newest_s = True, "", time.monotonic()
                    if not self._put(frame):
                        return
                    self.steps += 1
        except _StoppedError:
            pass
        except MultigraftError as error:
            self.fatal = error
        except Exception as error:
            # Of what takes frames or is told: without a thread no camera would be looked for.
            self.fatal = DeviceError(f"{self.name} is not read any more ({error!r})", "the service starts again")
            self.is_up, self.newest_s, self.reason = False, None, self.fatal.problem

    def _lost(self, outage: Outage) -> None:
        if outage.attempt == 1:
            self._say(False, str(outage))
        self.is_up, self.reason, self.newest_s = False, str(outage.error), None
        self.steps += 1

    def _pause(self, seconds: float) -> None:
        self.is_pausing = True
        try:
            if self._stopped.wait(seconds):
                raise _StoppedError
        finally:
            self.is_pausing = False


class Frames:
    """The frames of one camera or of several, none of which waits for another.

    Of a live camera the newest frame is kept, and the one that lay there is dropped and counted. A source that is no
    camera (files, a fake) waits until its frame was taken, drops nothing, and begins again at its end.

    Args:
        cameras: Tasks to their camera; no tasks to a camera that is for all.
        is_live: Tells cameras from files.
        say: Is told in a sentence that a camera was lost (False) or is there again (True).

    Attributes:
        cameras: Tasks to how their camera does.
    """

    def __init__(
        self,
        cameras: Mapping[Tasks, Camera],
        is_live: Callable[[Camera], bool] = is_live,
        say: Callable[[bool, str], None] = lambda up, sentence: None,
    ) -> None:
        self._slots = Slots[Tasks, Any]()

        def watched(tasks: Tasks, camera: Camera) -> Watched:
            live = is_live(camera)
            return Watched(camera, live, lambda frame: self._slots.put(tasks, frame, is_patient=not live), say)

        self.cameras = {tasks: watched(tasks, camera) for tasks, camera in cameras.items()}
        self._seen = dict.fromkeys(self.cameras, 0)

    @property
    def name(self) -> str:
        """What the frames are of."""
        return "; ".join(f"{','.join(tasks)}: {one.name}" if tasks else one.name for tasks, one in self.cameras.items())

    def start(self) -> None:
        """Begin to read."""
        for camera in self.cameras.values():
            camera.start()

    def take(self, wait_s: float, wanted: Collection[str] | None = None) -> tuple[bool, Any]:
        """Whether a frame came within that time, and the frame that has waited longest.

        Args:
            wait_s: Seconds.
            wanted: Tasks, one of which at least has to be asked of the frame; None for any.

        Returns:
            The frame stands alone where it is for all tasks, else as task to frame, for the tasks of one camera.
        """
        found = self._slots.take(wait_s, _asked(wanted))
        if found is None:
            return False, None
        tasks, frame = found
        return True, dict.fromkeys(tasks, frame) if tasks else frame

    def has_frame(self, wanted: Collection[str] | None = None) -> bool:
        """Whether one waits to be taken; ``wanted`` as of :meth:`take`."""
        return self._slots.has(_asked(wanted))

    def is_moving(self) -> bool:
        """Whether every camera has given a frame since this was true for the last time, or is being looked for.

        A camera that does neither hangs, whatever the others do. A file whose frame waits to be taken does not.
        """
        for tasks, one in self.cameras.items():
            is_waiting = not one.is_live and self._slots.has(lambda key, tasks=tasks: key == tasks)  # type: ignore[misc]
            if not (one.is_pausing or is_waiting or one.steps > self._seen[tasks]):
                return False
        self._seen = {tasks: one.steps for tasks, one in self.cameras.items()}
        return True

    @property
    def is_up(self) -> bool:
        """Whether all give frames."""
        return all(one.is_up for one in self.cameras.values())

    @property
    def reason(self) -> str:
        """What is wrong; "" if nothing is."""
        return "; ".join(one.reason for one in self.cameras.values() if one.reason)

    @property
    def fatal(self) -> MultigraftError | None:
        """What no further attempt can mend."""
        return next((one.fatal for one in self.cameras.values() if one.fatal is not None), None)

    @property
    def dropped(self) -> int:
        """Frames that nobody took."""
        return self._slots.dropped.total()

    @property
    def losses(self) -> int:
        """How often a camera vanished."""
        return sum(one.losses for one in self.cameras.values())

    def to_json(self) -> list[dict[str, Any]]:
        """How each camera does, as plain data."""
        now = time.monotonic()
        return [
            {
                "name": one.name,
                "tasks": list(tasks),
                "up": one.is_up,
                "reason": one.reason,
                "silent_s": None if one.newest_s is None or not one.is_live else now - one.newest_s,
                "dropped": self._slots.dropped[tasks],
                "losses": one.losses,
            }
            for tasks, one in self.cameras.items()
        ]

    def stop(self, wait_s: float = 3.0) -> None:
        """Give the cameras back, all within that time; one that hangs is left alone."""
        end = time.monotonic() + wait_s
        for camera in self.cameras.values():
            camera.end()
        self._slots.close()
        for camera in self.cameras.values():
            camera.join(end - time.monotonic())


def _asked(wanted: Collection[str] | None) -> Callable[[Tasks], bool]:
    return lambda tasks: wanted is None or not tasks or any(task in wanted for task in tasks)


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
