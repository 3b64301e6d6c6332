"""An S3 that runs here (moto's server), and a door before it at which one request in so many fails."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.runtime.service.served import free_port

BUCKET = "fleet"


def environment(port: int) -> dict[str, str]:
    """What every client of S3 takes its address and credentials from."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Yield the port of a server with an empty bucket."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("PUT", f"/{BUCKET}")
                assert connection.getresponse().status == 200
                break
            except OSError:
                assert server.poll() is None, "moto's server ended"
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def failing(port: int, one_in: int, seed: int) -> Iterator[tuple[int, list[int]]]:
    """Yield the port of a door to a server, and how many reads were let through and failed.

    Of reads of files, but not of lists, one in so many fails by chance: a server that is overloaded, or a connection
    that ends.
    """
    drawn = random.Random(seed)
    counts = [0, 0]
    lock = threading.Lock()

    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_file = self.path.startswith(f"/{BUCKET}/") and ".mgstats" in self.path.partition("?")[0]
            with lock:
                fails = is_file and drawn.randrange(one_in) == 0
                is_short = drawn.random() < 0.5
                counts[fails] += is_file
            if fails and is_short:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif fails:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._forward()

        def do_HEAD(self) -> None:
            self._forward()

        def do_PUT(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            # Of an answer without content it is what the file has.
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            connection.close()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=door.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(door.server_address[1]), counts
    finally:
        door.shutdown()
        door.server_close()
        thread.join()


def put(port: int, files: Iterator[tuple[str, bytes]]) -> None:
    """Write files into the bucket."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for name, data in files:
        connection.request("PUT", f"/{BUCKET}/{name}", data)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, name
    connection.close()


def child_environment(port: int) -> dict[str, str]:
    return dict(os.environ) | environment(port)
