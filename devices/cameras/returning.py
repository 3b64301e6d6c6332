"""A camera that vanishes is looked for again, at growing intervals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from multigraft.devices.cameras.camera import Camera
from multigraft.errors import (
    ConfigurationError,
    DeviceError,
    InputError,
    MissingDependencyError,
    MultigraftError,
    UsageError,
)
from multigraft.tensors.preprocessing import Frame

FIRST_S = 0.5
LONGEST_S = 30.0
_NO_DEVICE = (ConfigurationError, InputError, MissingDependencyError, UsageError)
"""What no waiting mends, where no frame was ever seen."""


@dataclass(frozen=True)
class Outage:
    """A camera that is away.

    Attributes:
        camera: Its name.
        error: What the last attempt to read or to open it ended with.
        attempt: How often it was looked for since it went.
        pause_s: Seconds until it is looked for again.
    """

    camera: str
    error: DeviceError
    attempt: int
    pause_s: float

    def __str__(self) -> str:
        return f"{self.error.problem}; looking again in {self.pause_s:g} s"


def returned(camera: str) -> str:
    """What is said when a camera gives frames again."""
    return f"{camera} gives frames again"


class ReturningCamera:
    """Camera adapter: goes on when what another camera failed with is over.

    Pauses double from :data:`FIRST_S` to :data:`LONGEST_S`, and begin anew once a frame has come: a camera that opens
    and gives nothing is not asked without end. Drivers raise what they like when a cable is pulled, so any exception is
    a loss. Before the first frame of all, what is no fault of the device (a missing package, a wrong source) is raised.

    Args:
        camera: One that can be entered again; where it reads in a thread, that goes inside
            (``ReturningCamera(NewestFrame(camera))``), and pauses are then spent where frames are asked for.
        is_patient: Wait for a camera that is not there at the start either; otherwise entering raises.
        wait: Spends a pause of so many seconds; what it raises ends the search.
        report: Told of each pause before it begins.
        returned: Called when it gives frames again.

    Attributes:
        camera: The camera.
        losses: How often it vanished.
        outage: What is known while it is away, None otherwise.
    """

    def __init__(
        self,
        camera: Camera,
        is_patient: bool = False,
        wait: Callable[[float], None] = time.sleep,
        report: Callable[[Outage], None] | None = None,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self.camera = camera
        self._is_patient, self._wait, self._report, self._returned = is_patient, wait, report, returned
        self._is_open = self._is_left = self._had_frames = False
        self._first_error: DeviceError | None = None
        self.losses = 0
        self.outage: Outage | None = None

    @property
    def name(self) -> str:
        return self.camera.name

    def __enter__(self) -> Self:
        self._first_error, self._is_left = None, False
        try:
            self._open()
        except Exception as error:
            if not self._is_patient:
                raise
            self._first_error = self._of_the_device(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        if not self._is_open and self._first_error is None:
            raise DeviceError(f"{self.name} is not open", "read it inside a with block")
        error, attempt, next_pause_s = self._first_error, 0, FIRST_S
        while True:
            while error is not None:
                pause_s, next_pause_s = next_pause_s, min(next_pause_s * 2, LONGEST_S)
                attempt += 1
                self.outage = Outage(self.name, error, attempt, pause_s)
                if self._report is not None:
                    self._report(self.outage)
                # Told before it is closed: a network camera that is dead takes half a minute to be taken leave of.
                with contextlib.suppress(Exception):
                    self._close()
                self._wait(pause_s)
                if self._is_left:
                    return
                try:
                    self._open()
                    error = None
                except Exception as again:
                    error = self._of_the_device(again)
            try:
                for frame in self.camera:
                    if self.outage is not None:
                        attempt, next_pause_s, self.outage = 0, FIRST_S, None
                        self._returned()
                    self._had_frames = True
                    yield frame
                return
            except Exception as lost:
                error = self._of_the_device(lost)
                self.losses += self.outage is None

    def _of_the_device(self, error: Exception) -> DeviceError:
        if isinstance(error, _NO_DEVICE) and not self._had_frames:
            raise error
        if isinstance(error, DeviceError):
            return error
        if isinstance(error, MultigraftError):
            return DeviceError(error.problem, error.remedy)
        return DeviceError(str(error) or type(error).__name__)

    def _open(self) -> None:
        self.camera.__enter__()
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.camera.__exit__(None, None, None)
