"""A network camera for tests: MJPEG over HTTP on the loopback, started, stopped and started again at one port."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np


class MjpegServer:
    """Pictures as fast as ``fps``, whose grey level tells their number modulo 200.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, fps: float = 100.0) -> None:
        self._fps = fps
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._is_up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://someone:secret@127.0.0.1:{self.port}/video.mjpg"

    def start(self) -> None:
        server, is_up, fps = self, self._is_up, self._fps

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for number in range(100_000):
                        if not is_up.is_set():
                            return
                        jpeg = server.jpeg(number)
                        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                        self.wfile.write(f"Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n")
                        time.sleep(1 / fps)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._is_up.set()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Unplug the camera."""
        if self._server is not None:
            self._is_up.clear()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @staticmethod
    def jpeg(number: int) -> bytes:
        picture = np.full((48, 64, 3), number % 200, np.uint8)
        return bytes(cv2.imencode(".jpg", picture)[1])


@contextlib.contextmanager
def mjpeg_server(fps: float = 100.0) -> Iterator[MjpegServer]:
    """One that is running, and stopped at the end."""
    server = MjpegServer(fps)
    server.start()
    try:
        yield server
    finally:
        server.stop()
