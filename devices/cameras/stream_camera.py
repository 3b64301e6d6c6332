"""Network cameras (RTSP, MJPEG over HTTP and what else OpenCV's FFmpeg reads from an address)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from multigraft.devices.cameras.opencv import LiveCapture, opencv
from multigraft.errors import DeviceError

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp")
"""What an address begins with."""

TIMEOUT_S = 10.0
"""For an answer, and for each frame."""


class StreamCamera(LiveCapture):
    """Camera adapter: the frames of an address, RGB.

    Args:
        url: For example ``rtsp://user:password@camera/stream``. The name shows neither user nor password.
        timeout_s: Seconds for the answer and for each frame.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._timeout_s = url, timeout_s

    @property
    def name(self) -> str:
        parts = urlsplit(self._url)
        return f"stream {parts._replace(netloc=parts.netloc.rpartition('@')[2], query='').geturl()}"

    def _open(self) -> Any:
        cv2 = opencv()
        timeout_ms = int(self._timeout_s * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        try:
            capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        except cv2.error as error:
            raise DeviceError(f"{self.name} cannot be opened ({error.err})", "check the address") from error
        if not capture.isOpened():
            capture.release()
            raise DeviceError(
                f"{self.name} does not answer or shows no video",
                "check address, user and password with: ffprobe ADDRESS",
            )
        return capture

    def _stopped(self) -> DeviceError:
        return DeviceError(f"{self.name} stopped giving frames", "check the camera and the network")
