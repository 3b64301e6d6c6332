"""300 frames over a link that fails, against KServe in a network namespace: root, iproute2, and an environment with
kserve 0.21 and onnxruntime.

    python -m tests.runtime.offload.link_faults --kserve kserve-venv/bin/python

The server is killed, started again, and its link slowed (5 Mbit/s, 200 ms there and back, 10 % loss each way). Every
frame has to have one answer in its deadline, and an answer of the server has to be that of its own frame.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np

from multigraft.converters.offload.repository import write_repository
from multigraft.converters.offload.tail import make_tail
from multigraft.runtime import Engine
from multigraft.runtime.answers import Raw
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.offload.server_address import ServerAddress
from tests.converters.offload.small_network import CUT, SIZE, made
from tests.runtime.offload.tun_link import NAMESPACE, THERE, TunLink, tun_link

PORT = 8000
SERVER = Path(__file__).parent / "kserve_server.py"
FRAMES = 300
PAUSE_S = 0.1
"""Between two frames: a camera of ten a second."""
SLACK_S = 0.05
"""A machine that is busy wakes a process late."""


class Server:
    """KServe, which may be killed."""

    def __init__(self, python: str, repository: Path) -> None:
        self._words = ["ip", "netns", "exec", NAMESPACE, python, str(SERVER), str(repository), str(PORT)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def until_ready(self) -> None:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{THERE}:{PORT}/v2/health/live", timeout=2).close()
                return
            time.sleep(0.5)
        sys.exit("kserve does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kserve", required=True, help="Python of an environment with kserve and onnxruntime")
    parser.add_argument("--deadline-ms", type=float, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tun_link() as link:
        network, bundle = made(Path(folder))
        repository = Path(folder) / "repository"
        write_repository(repository, bundle.manifest, make_tail(bundle, network, "digit", CUT))
        server = Server(options.kserve, repository)
        server.start()
        server.until_ready()
        try:
            return frames_over(link, server, Engine(bundle), options.deadline_ms / 1000)
        finally:
            server.kill()


def frames_over(link: TunLink, server: Server, engine: Engine, deadline_s: float) -> int:
    client = InferenceClient(Exchange(ServerAddress.parse(f"http://{THERE}:{PORT}")))
    offloading = Offloading(engine, ["digit"], client, deadline_s)
    random = np.random.default_rng(0)
    phases: dict[str, Counter[str]] = {}
    latest, late, wrong, answered = 0.0, 0, 0, 0
    phase = "up"
    for number in range(FRAMES):
        if number == FRAMES // 5:
            phase = "killed"
            server.kill()
        elif number == 2 * FRAMES // 5:
            phase = "started again"
            server.start()
        elif number == 3 * FRAMES // 5:
            server.until_ready()
            phase = "slow"
            link.bits_per_s, link.delay_s, link.loss = 5e6, 0.1, 0.1
        elif number == 4 * FRAMES // 5:
            phase = "fast again"
            link.bits_per_s, link.delay_s, link.loss = 0, 0, 0
        frame = random.integers(0, 256, (*SIZE, 3), np.uint8)
        begun = time.monotonic()
        local = engine.run(frame).answers
        answers, origins = offloading.improve({"digit": frame}, local, begun)
        took = time.monotonic() - begun
        answered += len(answers)
        latest, late = max(latest, took), late + (took > deadline_s + SLACK_S)
        origin = origins["digit"]
        phases.setdefault(phase, Counter())["server" if origin.is_remote else origin.why] += 1
        mine, theirs = local["digit"], answers["digit"]
        assert isinstance(mine, Raw) and isinstance(theirs, Raw)
        # Both compute the same frame, the one in int8: another frame's answer is far away.
        span = float(np.ptp(mine.outputs[1]))
        wrong += float(np.abs(mine.outputs[1] - theirs.outputs[1]).max()) > 0.25 * span
        time.sleep(PAUSE_S)
    for name, ends in phases.items():
        print(f"{name}: " + ", ".join(f"{count} {end}" for end, count in ends.most_common()))
    print(f"{FRAMES} frames, {answered} answers, {late} after {deadline_s * 1e3:g} ms, latest {latest * 1e3:.0f} ms")
    print(f"{wrong} answers of another frame")
    return int(answered != FRAMES or late > 0 or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
