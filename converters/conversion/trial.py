"""A first run of a model in a process of its own: older interpreters end the whole process on what they lack.

tflite-runtime 2.14 aborts, for one, where whole numbers of five dimensions are multiplied.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np

from multigraft.converters.conversion.interpreters import Runner
from multigraft.tflite import tflite_file

SECONDS = 120
"""For starting Python, loading and one run with zeros."""


def crash_of(model: bytes, backend: str) -> str:
    """The signal that ends a process in which ``backend`` runs the model once; empty if it ends by itself.

    Args:
        model: Content of a .tflite file with one signature.
        backend: A key of :data:`multigraft.converters.conversion.interpreters.BACKENDS`.
    """
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [sys.executable, "-P", "-m", "multigraft.converters.conversion.trial", backend]
    try:
        # No fork: interpreters that ran here left locks behind whose threads a fork lacks.
        ended = subprocess.run(
            command, input=model, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return signal.SIGKILL.name
    return signal.Signals(-ended.returncode).name if ended.returncode < 0 else ""


def _run(model: bytes, backend: str) -> None:
    graph = tflite_file.read(model).main
    Runner(model, backend)({n: np.zeros(graph.tensors[n].shape, graph.tensors[n].dtype) for n in graph.inputs})


if __name__ == "__main__":
    _run(sys.stdin.buffer.read(), sys.argv[1])
