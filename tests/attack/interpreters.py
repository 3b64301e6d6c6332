"""Loads and runs a model in a forked process, so that a crash of the interpreter is a figure and not the end."""

from __future__ import annotations

import numpy as np

from multigraft.errors import InputError, MultigraftError
from multigraft.runtime import tflite_model
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tflite.operators import BINARY
from tests.attack.trials import End, tried


def run_in_child(model: bytes, backend: InterpreterName, checked: bool = True) -> End:
    """Load ``model``, run every signature (or the first subgraph) once with zeros, in a process of its own.

    Args:
        model: A .tflite file's content.
        backend: Which interpreter.
        checked: False leaves out the check that precedes loading.
    """
    return tried(lambda: run(model, backend, checked))


def run(model: bytes, backend: InterpreterName, checked: bool = False) -> None:
    """As :func:`run_in_child`, in this process.

    Raises:
        MultigraftError: It is refused.
    """
    if checked:
        _run_loaded(model, backend)
        return
    setattr(tflite_model, "check_tflite", lambda *arguments: BINARY if b"Lce" in model else frozenset())  # noqa: B010
    try:
        if b"Lce" not in model:  # those take the delegate, which is loaded below
            _run_bare(model, backend)
        _run_loaded(model, backend)
    except MultigraftError:
        raise
    except (ValueError, RuntimeError, MemoryError) as error:
        # So the interpreters refuse.
        raise InputError(str(error), "nothing") from error


def _run_loaded(model: bytes, backend: InterpreterName) -> None:
    loaded = TfliteModel(model, backend)
    for signature in loaded.signatures or (None,):
        loaded.subgraph(signature).invoke()


def _run_bare(model: bytes, backend: InterpreterName) -> None:
    """As the interpreter's own users do, open shapes included."""
    interpreter = load_backend(backend).module.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()
    for details in interpreter.get_output_details():
        interpreter.get_tensor(details["index"])
