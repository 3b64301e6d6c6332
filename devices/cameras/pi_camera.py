"""The Raspberry Pi camera, read by picamera2."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from multigraft.devices.cameras.camera import Shot
from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import how_missing, repair, sees_system_packages, show_system_packages
from multigraft.tensors.preprocessing import Frame

SYSTEMS_COPY = Path("/usr/lib/python3/dist-packages/picamera2")
"""Where python3-picamera2 of Raspberry Pi OS lies."""

USUAL = (640, 480)
"""Width and height of frames."""

SMALL = (320, 240)
"""Largest width and height of the low-resolution stream."""


class PiCamera:
    """Camera adapter: a CSI camera, RGB.

    Frames come from the main stream. :meth:`shots` adds the low-resolution stream, which has an eighth of the bytes of
    640 x 480 pixels: what is not used is not copied out of the camera's memory.

    Args:
        height: Height of the frames in pixels; the camera's own processor scales.
        width: Width of the frames in pixels.
        number: Which camera, where several are connected.
        driver: From that number to what ``picamera2.Picamera2`` is; that itself by default.
    """

    def __init__(
        self, height: int = USUAL[1], width: int = USUAL[0], number: int = 0, driver: Callable[[int], Any] | None = None
    ) -> None:
        self._size = (width, height)
        self._number = number
        self._driver = driver
        self._camera: Any = None

    @classmethod
    def no_larger_than_needed(cls, height: int, width: int) -> Self:
        """A camera whose frames have at least these rows and columns, or its usual size, and its usual field of view.

        What the camera's own processor scales costs this one nothing: 300 x 224 pixels in place of 640 x 480 for a
        network of 224 x 224.
        """
        part = min(1.0, max(height / USUAL[1], width / USUAL[0]))
        # Even, as the scaler needs it.
        columns, rows = (2 * math.ceil(side * part / 2) for side in USUAL)
        return cls(rows, columns)

    @property
    def name(self) -> str:
        return f"Raspberry Pi camera {self._number}"

    def __enter__(self) -> Self:
        driver = self._driver or _picamera2()
        try:
            self._camera = driver(self._number)
            self._start()
        except (RuntimeError, IndexError, OSError) as error:
            self.__exit__(None, None, None)
            raise self._silent(error) from error
        return self

    def _start(self, small: tuple[int, int] | None = None) -> None:
        camera = self._camera
        # libcamera names formats by the word in memory, lowest byte last: BGR888 is an array of R, G, B
        # (picamera2's own table in request.py).
        streams: dict[str, Any] = {"main": {"size": self._size, "format": "BGR888"}}
        if small is not None:
            # Up to the Raspberry Pi 4 this stream can have no other format.
            streams["lores"] = {"size": small, "format": "YUV420"}
        camera.configure(camera.create_video_configuration(**streams))
        camera.start()

    def _silent(self, error: Exception) -> DeviceError:
        return DeviceError(
            f"{self.name} does not start ({error})", "check the ribbon cable and: rpicam-hello --list-cameras"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._camera is not None:
            self._camera.stop()
            self._camera.close()
            self._camera = None

    def __iter__(self) -> Iterator[Frame]:
        while self._camera is not None:
            frame: Frame = self._camera.capture_array("main")
            yield frame
        raise DeviceError(f"{self.name} is not open", "read it inside a with block")

    def shots(self) -> Generator[Shot, None, None]:
        """See :class:`multigraft.devices.cameras.camera.ShotCamera`; the camera starts again, which takes a moment."""
        if self._camera is not None:
            self._camera.stop()
            try:
                self._start(_small_size(*self._size))
            except (RuntimeError, OSError) as error:
                raise self._silent(error) from error
        while self._camera is not None:
            # The driver may have given another size than it was asked for.
            width, height = self._camera.camera_configuration()["lores"]["size"]
            shot = _PiShot(self._camera.capture_request(), height, width)
            try:
                yield shot
            finally:
                shot.release()
        raise DeviceError(f"{self.name} is not open", "read it inside a with block")


class _PiShot:
    """A request of picamera2. The camera has six buffers: it goes back as soon as the frame is copied."""

    def __init__(self, request: Any, height: int, width: int) -> None:
        self._request = request
        self._frame: Frame | None = None
        # Y above U and V, each row with the padding that the hardware needs.
        self.small: Frame = np.ascontiguousarray(request.make_array("lores")[:height, :width])

    def frame(self) -> Frame:
        if self._frame is None:
            if self._request is None:
                raise DeviceError("the camera took another picture since", "fetch the frame before the next shot")
            self._frame = self._request.make_array("main")
            self.release()
        return self._frame

    def release(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.release()


def _small_size(width: int, height: int) -> tuple[int, int]:
    """At most :data:`SMALL` and the main stream's size, in even numbers, as YUV 4:2:0 needs them."""
    part = min(1.0, SMALL[0] / width, SMALL[1] / height)
    return max(2, int(width * part) // 2 * 2), max(2, int(height * part) // 2 * 2)


def _picamera2() -> Callable[[int], Any]:
    try:
        from picamera2 import Picamera2
    except Exception as error:
        usual = (
            f"let this environment see that of the system; {show_system_packages()}"
            if SYSTEMS_COPY.exists() and not sees_system_packages()
            else "install it with: sudo apt install python3-picamera2, and make the environment with "
            "python3 -m venv --system-site-packages"
        )
        raise MissingDependencyError(
            f"the Raspberry Pi camera needs picamera2, which is {how_missing(error)}",
            repair(error, usual),
        ) from error
    driver: Callable[[int], Any] = Picamera2
    return driver
