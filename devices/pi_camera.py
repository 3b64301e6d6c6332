"""The Raspberry Pi camera, read by picamera2."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.preprocessing import Frame


class PiCamera:
    """Camera adapter: the main stream of a CSI camera, RGB.

    Args:
        height: Of the frames, in pixels; the camera's own processor scales.
        width: As height.
        number: Which camera, where several are connected.
    """

    def __init__(self, height: int = 480, width: int = 640, number: int = 0) -> None:
        self._size = (width, height)
        self._number = number
        self._camera: Any = None

    @property
    def name(self) -> str:
        return f"Raspberry Pi camera {self._number}"

    def __enter__(self) -> Self:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise MissingDependencyError(
                "the Raspberry Pi camera needs picamera2",
                "install it with: sudo apt install python3-picamera2, and make the environment with "
                "python3 -m venv --system-site-packages",
            ) from error
        try:
            camera = Picamera2(self._number)
            # libcamera names formats by the word in memory, lowest byte last: BGR888 is an array of R, G, B
            # (picamera2's own table in request.py).
            camera.configure(camera.create_video_configuration(main={"size": self._size, "format": "BGR888"}))
            camera.start()
        except (RuntimeError, IndexError, OSError) as error:
            raise DeviceError(
                f"{self.name} does not start ({error})", "check the ribbon cable and: rpicam-hello --list-cameras"
            ) from error
        self._camera = camera
        return self

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
