"""The part of picamera2 that :class:`multigraft.devices.cameras.pi_camera.PiCamera` calls, without hardware.

It hands out buffers as picamera2 does (request.py, configuration.py of version 0.3): rows of a YUV420 stream keep the
padding that the hardware needs, a request has to be released before its buffer is filled again, the low-resolution
stream may not be larger than the main one, and nothing can be read of a request that was released.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.devices.cameras.fake_camera import FakeCamera
from multigraft.tensors.preprocessing import Frame

ALIGNMENT = 64
"""Bytes that a row is padded to a multiple of, as on a Raspberry Pi 5."""

BUFFERS = 6
"""picamera2's own number for video."""

PADDING = 0xAA
"""What lies behind the pixels of a row."""

_LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601; picamera2 chooses the full range of values beside an RGB stream."""

Scene = Callable[[int, int, int], Frame]


class FakePicamera2:
    """A camera that sees ``scene``.

    Args:
        number: Number of the camera, as picamera2 takes it; ignored.
        scene: Maps number of the picture, height and width to RGB; by default that of :class:`FakeCamera`.

    Attributes:
        taken: Pictures taken.
        copied: Name of a stream to how often its pixels were copied out.
        held: Requests that are not released yet.
        config: Configuration, or None before :meth:`configure`.
    """

    def __init__(self, number: int = 0, scene: Scene | None = None) -> None:
        self._scene = scene or (lambda picture, height, width: FakeCamera(height, width).frame(picture))
        self.taken = self.held = 0
        self.copied = {"main": 0, "lores": 0}
        self.config: dict[str, Any] | None = None
        self._is_started = self._is_closed = False

    def create_video_configuration(self, main: dict[str, Any], lores: dict[str, Any] | None = None) -> dict[str, Any]:
        """A configuration to change and to give to :meth:`configure`."""
        return {"main": dict(main), "lores": None if lores is None else {"format": "YUV420", **lores}}

    def configure(self, config: dict[str, Any]) -> None:
        """Raise RuntimeError for streams that cannot be had."""
        if self._is_started or self._is_closed:
            raise RuntimeError("Camera must be stopped before configuring")
        (width, height), small = config["main"]["size"], config["lores"]
        if config["main"]["format"] != "BGR888":
            raise RuntimeError(f"Format {config['main']['format']} not supported")
        config["main"]["stride"] = -(-3 * width // ALIGNMENT) * ALIGNMENT
        if small is not None:
            if small["size"][0] > width or small["size"][1] > height:
                raise RuntimeError("lores stream dimensions may not exceed main stream")
            if any(n % 2 for n in small["size"]) or small["format"] != "YUV420":
                raise RuntimeError("lores stream must be YUV of even size")
            small["stride"] = -(-small["size"][0] // ALIGNMENT) * ALIGNMENT
        self.config = config

    def camera_configuration(self) -> dict[str, Any] | None:
        """What is configured."""
        return self.config

    def start(self) -> None:
        """Begin to take pictures."""
        if self.config is None or self._is_closed:
            raise RuntimeError("Camera has not been configured")
        self._is_started = True

    def stop(self) -> None:
        """End it."""
        self._is_started = False

    def close(self) -> None:
        """Give the camera back."""
        self._is_started, self._is_closed = False, True

    def capture_request(self) -> FakeRequest:
        """The next picture, in all streams."""
        if not self._is_started:
            raise RuntimeError("Camera is not started")
        if self.held == BUFFERS:
            raise RuntimeError("all buffers are held: picamera2 would wait for ever")
        assert self.config is not None
        width, height = self.config["main"]["size"]
        self.held += 1
        self.taken += 1
        return FakeRequest(self, self._scene(self.taken - 1, height, width))

    def capture_array(self, name: str = "main") -> npt.NDArray[np.uint8]:
        """The next picture of one stream."""
        request = self.capture_request()
        try:
            return request.make_array(name)
        finally:
            request.release()


class FakeRequest:
    """One picture in all streams, until it is released."""

    def __init__(self, camera: FakePicamera2, frame: Frame) -> None:
        self._camera: FakePicamera2 | None = camera
        self._frame = frame

    def make_array(self, name: str) -> npt.NDArray[np.uint8]:
        """A copy: main as height x width x 3; lores as height * 3 / 2 rows of stride bytes."""
        if self._camera is None or self._camera.config is None:
            raise RuntimeError("the request was released")
        stream = self._camera.config[name]
        if stream is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        self._camera.copied[name] += 1
        if name == "main":
            return self._frame.copy()
        width, height = stream["size"]
        rows = np.arange(height) * self._frame.shape[0] // height
        columns = np.arange(width) * self._frame.shape[1] // width
        planes = np.full((height * 3 // 2, stream["stride"]), PADDING, np.uint8)
        planes[:height, :width] = np.rint(self._frame[rows][:, columns] @ _LUMA)
        # Grey: the chroma planes, of half the width and height, are all 128.
        planes[height:, :width] = 128
        return planes

    def release(self) -> None:
        """Hand the buffers back."""
        if self._camera is None:
            raise RuntimeError("the request was released twice")
        self._camera.held -= 1
        self._camera = None
