"""The rest of a task on NVIDIA's Triton: an environment of Debian's Python 3.11 with nvidia-pytriton and onnxruntime.

    python -m tests.runtime.offload.triton_tail --triton triton-venv/bin/python

What the client gets for a frame has to be what onnxruntime makes of the same packet here, bit for bit, in each form
that the client may be down to. Told is how far that is from what the unsplit float network answers: the codec's half a
step, and what the device's int8 part adds. Exit code 77 says that Triton does not start.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multigraft.bundle.bundle import Bundle
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import session_of
from multigraft.converters.offload.repository import DECODER, write_repository
from multigraft.converters.offload.tail import make_tail
from multigraft.runtime import Engine
from multigraft.runtime.offload.exchange import Exchange, ExchangeError
from multigraft.runtime.offload.inference_client import FORMS, Form, InferenceClient
from multigraft.runtime.offload.remote_task import RemoteTask
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.offload.wire import model_name, wire_tensors
from tests.converters.offload.small_network import CUT, SIZE, made

SERVER = Path(__file__).parent / "triton_server.py"
SKIPPED = 77
DEADLINE_S = 30.0
BITS = (2, 4, 8)


@contextlib.contextmanager
def served(python: str, repository: Path, port: int, models: list[str]) -> Iterator[str]:
    """Its address, once all models are there."""
    words = [python, str(SERVER), str(repository), str(port)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                if process.poll() is not None:
                    log.seek(0)
                    print(log.read().decode(errors="replace")[-2000:], file=sys.stderr)
                    print(f"Triton does not start: exit code {process.returncode}")
                    sys.exit(SKIPPED)
                with contextlib.suppress(OSError):
                    for model in models:
                        urllib.request.urlopen(f"{address}/v2/models/{model}/ready", timeout=2).close()
                    break
                time.sleep(0.5)
            else:
                print("Triton does not start: no answer within two minutes")
                sys.exit(SKIPPED)
            yield address
        finally:
            process.terminate()


def main() -> int:
    """Ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triton", required=True, help="Python of an environment with nvidia-pytriton and onnxruntime")
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        network, bundle = made(Path(folder))
        tail = make_tail(bundle, network, "digit", CUT)
        repository = Path(folder) / "repository"
        write_repository(repository, bundle.manifest, tail)
        name = model_name(bundle.manifest, "digit", CUT)
        with served(options.triton, repository, options.port, [name, name + DECODER]) as address:
            with urllib.request.urlopen(f"{address}/v2", timeout=5) as told:
                print(told.read().decode())
            wrong = [compared(address, form, network, bundle, options.frames) for form in FORMS]
    return int(any(wrong))


def compared(address: str, form: Form, network: MultiTaskModel, bundle: Bundle, count: int) -> int:
    """How many frames the server answers otherwise than onnxruntime does here."""
    engine = Engine(bundle)
    client = InferenceClient(Exchange(ServerAddress.parse(address)))
    client.form = form
    task = RemoteTask(engine, "digit", CUT)
    here = session_of(make_tail(bundle, network, "digit", CUT).model, "digit")
    whole = session_of(network.model, "digit")
    source = bundle.manifest.inputs[0]
    names = list(task.outputs)
    random, wrong = np.random.default_rng(0), 0
    farthest, span = dict.fromkeys(BITS, 0.0), 0.0
    for number in range(count):
        frame: npt.NDArray[np.uint8] = random.integers(0, 256, (*SIZE, 3), np.uint8)
        engine.run(frame)
        bits = BITS[number % len(BITS)]
        tensors = wire_tensors(task.packet(frame, bits))
        try:
            there = client.infer(task.model, tensors, task.outputs, time.monotonic() + DEADLINE_S)
        except ExchangeError as error:
            print(f"{form}: {error}")
            return count
        mine = dict(zip(names, here.run(names, tensors), strict=True))
        wrong += any(not np.array_equal(there[n], mine[n]) for n in names)
        real = ((frame.astype(np.float32) - 120) * np.float32(0.02)).transpose(2, 0, 1)[None]
        right = whole.run(names, {source.tensor: np.ascontiguousarray(real)})[0]
        farthest[bits] = max(farthest[bits], float(np.abs(there[names[0]] - right).max()))
        span = max(span, float(np.ptp(right)))
    client.close()
    beside = ", ".join(f"{100 * far / span:.2f} % at {bits} bits" for bits, far in farthest.items())
    print(f"{form}: {count - wrong} of {count} frames bit for bit as here; off the unsplit float network by {beside}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
