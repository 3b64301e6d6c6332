"""Video4Linux cameras (USB), read by OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multigraft.devices.cameras.opencv import LiveCapture, opencv
from multigraft.errors import DeviceError


class V4l2Camera(LiveCapture):
    """Camera adapter: a Video4Linux device (USB cameras), RGB.

    Args:
        device: Path of the device, for example ``/dev/video0``.
        height: Height in pixels that is asked of the driver, which may give the nearest it has; 0 leaves its own.
        width: Width in the same way.
    """

    def __init__(self, device: str = "/dev/video0", height: int = 0, width: int = 0) -> None:
        self._device = device
        self._size = (height, width)

    @property
    def name(self) -> str:
        return f"camera {self._device}"

    @property
    def _device_name(self) -> str:
        return self._device

    def _open(self) -> Any:
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
        return capture

    def _stopped(self) -> DeviceError:
        return DeviceError(f"{self._device} stopped giving frames", "plug it in again")
