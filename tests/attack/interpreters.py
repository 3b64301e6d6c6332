"""Loads and runs a model in a forked process, so that a crash of the interpreter is a figure and not the end."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass

import numpy as np

from multigraft.errors import MultigraftError
from multigraft.runtime import tflite_model
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.tflite_model import TfliteModel

SECONDS = 10
ADDRESS_SPACE = 4 << 30


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        kind: ``ran``, ``refused`` (one sentence), ``traceback``, ``crash`` (a signal) or ``hang``.
        detail: The signal or the exception.
        peak_kib: Its largest resident size.
    """

    kind: str
    detail: str
    peak_kib: int


def run_in_child(model: bytes, backend: InterpreterName, checked: bool = True) -> End:
    """Load ``model``, run every signature (or the first subgraph) once with zeros, in a process of its own.

    Args:
        model: A .tflite file's content.
        backend: Which interpreter.
        checked: False leaves out the check that precedes loading.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, _run(model, backend, checked))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        return End("hang" if number == signal.SIGALRM else "crash", number.name, usage.ru_maxrss)
    kind, _, detail = said.partition(" ")
    return End(kind or "crash", detail or f"exit code {os.WEXITSTATUS(status)}", usage.ru_maxrss)


def _run(model: bytes, backend: InterpreterName, checked: bool) -> bytes:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if not checked:
        setattr(tflite_model, "check_tflite", lambda *arguments: None)  # noqa: B010
    ran = b"refused"
    try:
        if not checked:
            _run_bare(model, backend)
            ran = b"ran"
        loaded = TfliteModel(model, backend)
        for signature in loaded.signatures or (None,):
            loaded.subgraph(signature).invoke()
    except MultigraftError:
        return ran
    except BaseException as error:
        if not checked and isinstance(error, (ValueError, RuntimeError, MemoryError)):
            return b"refused"
        return f"traceback {type(error).__name__}: {error}".encode(errors="replace")[:200]
    return b"ran"


def _run_bare(model: bytes, backend: InterpreterName) -> None:
    """As the interpreter's own users do, open shapes included."""
    interpreter = load_backend(backend).module.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()
    for details in interpreter.get_output_details():
        interpreter.get_tensor(details["index"])
