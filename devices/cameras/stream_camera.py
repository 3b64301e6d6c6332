"""Network cameras (RTSP, MJPEG over HTTP and what else OpenCV's FFmpeg reads from an address)."""

from __future__ import annotations

import os
from typing import Any

from multigraft.devices.cameras.addresses import shown_address
from multigraft.devices.cameras.opencv import LiveCapture, opencv
from multigraft.devices.cameras.rtsp_probe import why_no_video
from multigraft.errors import DeviceError

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp")
"""What an address begins with."""

TIMEOUT_S = 10.0
"""For an answer, and for each frame."""
ASKING_S = 3.0
"""For the answer to what is wrong: with the time above, no longer than readers wait for a camera to open."""


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
        return f"stream {shown_address(self._url)}"

    def _open(self) -> Any:
        cv2 = opencv()
        timeout_ms = int(self._timeout_s * 1000)
        # Over Wi-Fi, UDP loses packets and with them parts of the picture. FFmpeg falls back on UDP.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        try:
            capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        except cv2.error as error:
            raise DeviceError(f"{self.name} cannot be opened ({error.err})", "check the address") from error
        if not capture.isOpened():
            capture.release()
            said = why_no_video(self._url, min(self._timeout_s, ASKING_S)) if self._is_rtsp else None
            if said is not None:
                raise DeviceError(f"{self.name} {said[0]}", said[1])
            raise DeviceError(
                f"{self.name} does not answer or shows no video",
                "check address, user and password with: ffprobe ADDRESS",
            )
        return capture

    @property
    def _is_rtsp(self) -> bool:
        return self._url.lower().startswith("rtsp://")

    def _stopped(self) -> DeviceError:
        return DeviceError(f"{self.name} stopped giving frames", "check the camera and the network")
