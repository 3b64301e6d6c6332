"""A running RTSP camera, and what its pictures say."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.tensors.preprocessing import Frame
from tests.devices.cameras.rtsp_server import BAR, BITS, HEIGHT, RED_ROWS
from tests.runtime.service.served import free_port

PYTHON = "/usr/bin/python3"
"""Debian's, which has the bindings."""
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
_ASK = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("appsrc", "videoconvert", "openh264enc", "h264parse", "rtph264pay", "rtpbin")))
"""


@functools.cache
def _is_there() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([PYTHON, "-c", _ASK], capture_output=True).returncode == 0
    return False


class RtspCamera:
    """Serves ``/door`` until the block is left; may be killed, halted and started again at the same port.

    Args:
        transport: ``tcp`` or ``udp``, the only one it offers.
        fps: Pictures a second.
        login: ``USER:PASSWORD`` that it asks for; "" for none.
    """

    def __init__(self, transport: str = "tcp", fps: int = 50, login: str = "") -> None:
        if not _is_there():
            pytest.skip(f"rtsp: apt-get install {PACKAGES}")
        self.port = free_port()
        self._words = [transport, str(fps), login]
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str = "door", login: str = "") -> str:
        """Where it is watched."""
        return f"rtsp://{login and login + '@'}127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        server = Path(__file__).with_name("rtsp_server.py")
        self._process = subprocess.Popen(
            [PYTHON, str(server), str(self.port), *self._words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def halt(self) -> None:
        """Keep all connections and say nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def number_of(frame: Frame) -> int:
    """What a picture's bars say; they and the red strip have to be what was sent."""
    assert frame.shape == (HEIGHT, BITS * BAR, 3)
    bars = frame[8 : HEIGHT - RED_ROWS - 8].reshape(-1, BITS, BAR, 3)[:, :, 4:-4].mean(axis=(0, 2, 3))
    assert np.all((bars < 60) | (bars > 195)), bars
    red = frame[HEIGHT - RED_ROWS + 8 : -8].mean(axis=(0, 1))
    assert red[0] > 150 and red[1:].max() < 90, red
    return int("".join("1" if bar > 128 else "0" for bar in bars), 2)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port where connections are accepted and nothing is said."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        yield port
