"""``multigraft serve`` on a state folder, started again whenever it ends, as systemd does; asked over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from multigraft.runtime.deploy import store
from multigraft.tensors.arrays import Array
from tests.runtime.service.served import Served, free_port, until

PAUSE_S = 0.1
"""The unit has two seconds."""


class Standing:
    """Keeps the service up until the block is left.

    Attributes:
        starts: How often it was started.
        codes: How it ended, each time: 75 for another bundle, -9 where it was killed.
    """

    def __init__(self, state: Path, log: Path) -> None:
        self._state, self._log, self._port = state, log, free_port()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._served: Served | None = None
        self.starts = 0
        self.codes: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        while self._thread.is_alive():
            if self._served is not None:
                self._served.process.terminate()
            self._thread.join(5)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        served = self._served
        if served is not None:
            served.process.kill()

    def answers(self, frame: Array, is_disk_full: bool = False) -> tuple[str, dict[str, Any]]:
        """What it answers once it serves what the state folder leads to.

        Args:
            frame: Asked about.
            is_disk_full: Another bundle may be served, as the start of one on trial cannot be counted.

        Returns:
            The bundle's digest, and the answers by task.
        """
        found: list[tuple[str, dict[str, Any]]] = []

        def asked() -> bool:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                now = store.current(self._state)
                served = self._served
                if served is None or now is None or not served.is_well():
                    return False
                digest = served.json("/live/state")["bundle"]["sha256"]
                if (is_disk_full or digest == now.name) and (told := self._infer(served, frame)) is not None:
                    found.append((digest, told))
            return bool(found)

        until(asked, lambda: f"{self.codes}\n{self._log.read_text()[-3000:]}")
        return found[0]

    def _infer(self, served: Served, frame: Array) -> dict[str, Any] | None:
        tensor = {"name": "frame", "shape": list(frame.shape), "datatype": "UINT8", "data": frame.ravel().tolist()}
        status, _, said = served.ask("/v2/models/test/infer", "POST", json.dumps({"inputs": [tensor]}).encode())
        if status != 200:
            return None
        return {output["name"]: json.loads(output["data"][0]) for output in json.loads(said)["outputs"]}

    def _run(self) -> None:
        command = [sys.executable, "-m", "multigraft", "serve", "--state", str(self._state), "--rate", "20"]
        command += ["--source", "fake:28x28,grey", "--listen", f"127.0.0.1:{self._port}"]
        while not self._ended.is_set():
            with self._log.open("ab") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
            self._served = Served(process, self._port, self._log)
            self.starts += 1
            self.codes.append(process.wait())
            self._ended.wait(PAUSE_S)


def random_frame() -> Array:
    """A grey one."""
    return np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
