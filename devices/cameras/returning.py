"""A camera that vanishes is looked for again, at growing intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from multigraft.devices.cameras.camera import Camera
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame

FIRST_S = 0.5
LONGEST_S = 30.0


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


class ReturningCamera:
    """Camera adapter: goes on when another camera's :class:`~multigraft.errors.DeviceError` is over.

    Pauses double from :data:`FIRST_S` to :data:`LONGEST_S`, and begin anew once a frame has come: a camera that opens
    and gives nothing is not asked without end. What is no fault of the device (a missing package, a wrong source) is
    raised as ever.

    Args:
        camera: One that can be entered again; where it reads in a thread, that goes inside
            (``ReturningCamera(NewestFrame(camera))``), and pauses are then spent where frames are asked for.
        is_patient: Wait for a camera that is not there at the start either; otherwise entering raises.
        wait: Spends a pause of so many seconds; what it raises ends the search.
        report: Told of each pause before it begins.

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
    ) -> None:
        self.camera = camera
        self._is_patient, self._wait, self._report = is_patient, wait, report
        self._is_open = self._is_left = False
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
        except DeviceError as error:
            if not self._is_patient:
                raise
            self._first_error = error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        if not self._is_open and self._first_error is None:
            raise DeviceError(f"{self.name} is not open", "read it inside a with block")
        error, attempt = self._first_error, 0
        while True:
            while error is not None:
                pause_s = min(FIRST_S * 2**attempt, LONGEST_S)
                attempt += 1
                self.outage = Outage(self.name, error, attempt, pause_s)
                if self._report is not None:
                    self._report(self.outage)
                self._wait(pause_s)
                if self._is_left:
                    return
                try:
                    self._open()
                    error = None
                except DeviceError as again:
                    error = again
            try:
                for frame in self.camera:
                    attempt, self.outage = 0, None
                    yield frame
                return
            except DeviceError as lost:
                self.losses += self.outage is None
                error = lost
                self._close()

    def _open(self) -> None:
        self.camera.__enter__()
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.camera.__exit__(None, None, None)
