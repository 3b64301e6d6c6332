"""A first run of a model in a process of its own: older interpreters end the whole process on what they lack.

tflite-runtime 2.14 aborts, for one, where whole numbers of five dimensions are multiplied.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import warnings

import numpy as np

from multigraft.converters.conversion.interpreters import Runner
from multigraft.tflite import tflite_file

SECONDS = 120
"""For loading and one run with zeros."""


def crash_of(model: bytes, backend: str) -> str:
    """The signal that ends a process in which ``backend`` runs the model once; empty if it ends by itself.

    Args:
        model: Content of a .tflite file with one signature.
        backend: A key of :data:`multigraft.converters.conversion.interpreters.BACKENDS`.
    """
    with warnings.catch_warnings():
        # The child runs nothing but the interpreter, which starts threads of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(SECONDS)
            faulthandler.disable()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            _run(model, backend)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""


def _run(model: bytes, backend: str) -> None:
    graph = tflite_file.read(model).main
    Runner(model, backend)({n: np.zeros(graph.tensors[n].shape, graph.tensors[n].dtype) for n in graph.inputs})
