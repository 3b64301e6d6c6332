"""A service in a process of its own, as a user starts it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


@dataclass
class Served:
    """A running service.

    Attributes:
        process: It.
        port: Where it speaks HTTP.
        log: What it writes to standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def json(self, path: str) -> Any:
        """What a page says."""
        return json.loads(self.ask(path)[2])

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that has to happen."""
        until(condition, lambda: self.log.read_text())

    def is_well(self) -> bool:
        """Whether it answers frames."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("/healthz")[0] == 200
        return False

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def until(condition: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    """Wait for something that has to happen."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, why()
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, listen: str = "127.0.0.1", environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """``multigraft serve ARGUMENTS``, until the block is left.

    Args:
        folder: For its state and its log.
        arguments: Of the command.
        listen: The address, without a port; ``none`` for no HTTP.
        environment: Variables besides those of this process.
    """
    port, log = free_port(), folder / "log.txt"
    command = [sys.executable, "-m", "multigraft", "serve", *arguments, "--state", str(folder / "state")]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--listen", listen if listen == "none" else f"{listen}:{port}"],
            stderr=errors,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        served = Served(process, port, log)
        try:
            yield served
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
