"""A first load and run of a model in a process of its own: finds what only a kernel can, before it can do harm here.

The check before loading (:mod:`multigraft.tflite.checking.check`) follows every number of the file and knows the shapes
of the usual operators. What it cannot know is whether the code of a kernel is right.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import numpy as np

from multigraft.errors import InputError
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.delegate.library import delegates_for
from multigraft.tflite.checking.binary import BINARY

SECONDS = 30.0
"""For starting Python, loading and one run of every signature."""
MEMORY_BYTES = 4 << 30
"""Of address space, which counts what is reserved and not used, too."""


def try_in_child(model: bytes, backend: BackendName = "auto", threads: int = 1, seconds: float = SECONDS) -> None:
    """Load a model and run it once with zeros in a child process; that it is refused there is no error here.

    Args:
        model: A .tflite file's content, checked already.
        backend: Which interpreter.
        threads: Threads for the kernels.
        seconds: Time limit.

    Raises:
        InputError: The child crashed or did not end in time.
        MissingDependencyError: The interpreter is not installed.
    """
    name = load_backend(backend).name
    command = [sys.executable, "-m", "multigraft.runtime.untrusted", name, str(threads)]
    try:
        ended = subprocess.run(
            command, input=model, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"the model did not end its first run within {seconds:g} s", "do not run it, or trust its sender"
        ) from None
    if ended.returncode < 0:
        crash = signal.Signals(-ended.returncode).name
        raise InputError(f"the model crashes the interpreter {name} ({crash})", "do not run it")


def _run(backend: str, threads: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = load_backend(backend)  # type: ignore[arg-type]
    content = sys.stdin.buffer.read()
    delegates = delegates_for(BINARY if b"Lce" in content else frozenset(), found, "the model")
    interpreter = found.module.Interpreter(
        model_content=content, num_threads=threads, experimental_delegates=delegates or None
    )
    interpreter.allocate_tensors()
    signatures = interpreter.get_signature_list()
    for signature in signatures:
        runner = interpreter.get_signature_runner(signature)
        runner(**{name: np.zeros(d["shape"], d["dtype"]) for name, d in runner.get_input_details().items()})
    if not signatures:
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
