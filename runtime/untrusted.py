"""A first load and run of a model in a process of its own: finds what only a kernel can, before it can do harm here.

The check before loading (:mod:`multigraft.tflite.checking.check`) follows every number of the file and knows the shapes
of the usual operators. What it cannot know is whether the code of a kernel is right.
"""

from __future__ import annotations

import resource
import signal
import sys

import numpy as np

from multigraft.errors import InputError
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.child import IDLE_S, STEP_S, StuckError, begin_step, run_watched
from multigraft.runtime.delegate.choosing import delegates_for
from multigraft.tflite.operators import BINARY

MEMORY_BYTES = 4 << 30
"""Of address space, which counts what is reserved and not used, too."""


def try_in_child(
    model: bytes, backend: BackendName = "auto", threads: int = 1, step_s: float = STEP_S, idle_s: float = IDLE_S
) -> None:
    """Load a model and run it once with zeros in a child process; that it is refused there is no error here.

    Args:
        model: A .tflite file's content, checked already.
        backend: Which interpreter.
        threads: Threads for the kernels.
        step_s: Processor time of a thread for starting and loading, and for a run of each signature.
        idle_s: Seconds in which the child may do nothing.

    Raises:
        InputError: The child crashed or is stuck.
        MissingDependencyError: The interpreter is not installed.
    """
    name = load_backend(backend).name
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [sys.executable, "-P", "-m", "multigraft.runtime.untrusted", name, str(threads), str(step_s)]
    try:
        ended = run_watched(command, model, idle_s)
    except StuckError as error:
        raise InputError(
            f"the model does not end its first run: {error}", "do not run it, or trust its sender"
        ) from None
    if ended.returncode < 0:
        crash = signal.Signals(-ended.returncode).name
        raise InputError(f"the model crashes the interpreter {name} ({crash})", "do not run it")


def _run(backend: str, threads: int, step_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    begin_step(threads, step_s)
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
        begin_step(threads, step_s)
        runner(**{name: np.zeros(d["shape"], d["dtype"]) for name, d in runner.get_input_details().items()})
    if not signatures:
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        begin_step(threads, step_s)
        interpreter.invoke()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
