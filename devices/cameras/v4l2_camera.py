"""Video4Linux cameras (USB), read by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multigraft.devices.cameras.opencv import next_frame, opencv
from multigraft.errors import DeviceError
from multigraft.tensors.preprocessing import Frame


class V4l2Camera:
    """Camera adapter: a Video4Linux device (USB cameras), RGB.

    Args:
        device: Path of the device, for example ``/dev/video0``.
        height: Height in pixels that is asked of the driver, which may give the nearest it has; 0 leaves its own.
        width: Width in the same way.
    """

    def __init__(self, device: str = "/dev/video0", height: int = 0, width: int = 0) -> None:
        self._device = device
        self._size = (height, width)
        self._capture: Any = None

    @property
    def name(self) -> str:
        return f"camera {self._device}"

    def __enter__(self) -> Self:
        cv2 = opencv()
        if not Path(self._device).exists():
            raise DeviceError(
                f"there is no {self._device}", "plug the camera in, or list cameras with: v4l2-ctl --list-devices"
            )
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise DeviceError(
                f"{self._device} cannot be opened as a camera",
                "close other programs that use it, and add yourself to the group 'video'",
            )
        for which, value in ((cv2.CAP_PROP_FRAME_HEIGHT, self._size[0]), (cv2.CAP_PROP_FRAME_WIDTH, self._size[1])):
            if value:
                capture.set(which, value)
        # One buffered frame: an answer has to be about now, not about what lay in the queue.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture = capture
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def __iter__(self) -> Iterator[Frame]:
        while self._capture is not None:
            frame = next_frame(self._capture)
            if frame is None:
                raise DeviceError(f"{self._device} stopped giving frames", "plug it in again")
            yield frame
        raise DeviceError(f"{self._device} is not open", "read it inside a with block")
