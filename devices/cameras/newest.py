"""The newest frame of a camera that runs by itself: what nobody had time for is dropped and counted, never queued."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.slot import Slot
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame

SILENCE_S = 15.0
"""Longer than the 10 s after which the drivers themselves give up."""

LEAVING_S = 2.0
"""A frame of the slowest cameras; a driver that hangs longer is left behind."""


class NewestFrame:
    """Camera adapter: reads another camera in a thread and hands out the newest frame, each once.

    The thread opens the camera and closes it, too: one that hangs in its driver holds up nobody else.

    Args:
        camera: One whose frames come whether they are read or not.
        silence_s: Seconds without a frame after which it counts as gone.
        leaving_s: Seconds to wait for the camera's last frame at the end.

    Attributes:
        camera: The camera.
        dropped: Frames that were taken and never asked for, over all times that the block was entered.
    """

    def __init__(self, camera: Camera, silence_s: float = SILENCE_S, leaving_s: float = LEAVING_S) -> None:
        self.camera = camera
        self._silence_s, self._leaving_s = silence_s, leaving_s
        self._reading: _Reading | None = None
        self._former: _Reading | None = None
        self._dropped = 0

    @property
    def name(self) -> str:
        return self.camera.name

    @property
    def dropped(self) -> int:
        return self._dropped + (self._reading.dropped if self._reading is not None else 0)

    def __enter__(self) -> Self:
        if self._former is not None and self._former.is_alive():
            raise DeviceError(f"{self.name} hangs in its driver", "unplug it and plug it in again")
        reading = _Reading(self.camera, self._leaving_s)
        reading.start()
        reading.wait_until_open(self._silence_s)
        self._reading = self._former = reading
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.leave()
            self._dropped += reading.dropped

    def __iter__(self) -> Iterator[Frame]:
        if self._reading is None:
            raise DeviceError(f"{self.name} is not open", "read it inside a with block")
        while self._reading is not None:
            frame = self._reading.take(self._silence_s)
            if frame is None:
                return
            yield frame


class _Reading(threading.Thread):
    """One time that the camera is open."""

    def __init__(self, camera: Camera, leaving_s: float) -> None:
        super().__init__(name=f"multigraft: {camera.name}", daemon=True)
        self._camera, self._leaving_s = camera, leaving_s
        self._slot = Slot[Frame]()
        self._error: BaseException | None = None
        self._is_open = False
        self._is_known = threading.Event()
        """Whether it opened or failed to."""

    @property
    def dropped(self) -> int:
        return self._slot.dropped

    def run(self) -> None:
        try:
            with self._camera as camera:
                self._is_open = True
                self._is_known.set()
                for frame in camera:
                    if not self._slot.put(frame):
                        break
        except BaseException as error:
            self._error = error
        finally:
            self._slot.close()
            self._is_known.set()

    def wait_until_open(self, seconds: float) -> None:
        if not self._is_known.wait(seconds):
            self.leave()
            raise DeviceError(f"{self._camera.name} does not open within {seconds:g} s", "unplug it and plug it in")
        if self._error is not None and not self._is_open:
            raise self._error

    def take(self, seconds: float) -> Frame | None:
        """The newest frame that nobody took; None at the end of the source."""
        frame = self._slot.take(seconds)
        if frame is not None:
            return frame
        if self._error is not None:
            raise self._error
        if not self._slot.is_closed:
            raise DeviceError(f"{self._camera.name} gave no frame for {seconds:g} s", "unplug it and plug it in again")
        return None

    def leave(self) -> None:
        self._slot.close()
        self.join(self._leaving_s)
