"""Finds the delegate's library, and hands it to an interpreter.

The library needs neither Python nor the interpreter's headers: it declares the few structs of TensorFlow Lite's C
interface that it touches (``c/tflite_abi.h``).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from multigraft.errors import MissingDependencyError, UsageError
from multigraft.runtime.backends import Backend

KERNELS = "MULTIGRAFT_BINARY_KERNELS"
"""Environment variable: the kernels to take, one of :func:`available_kernels`; without it the first."""

_LIBRARY = "libmultigraft_binary.so"


def library_path() -> Path:
    """The library.

    Raises:
        MissingDependencyError: It was not compiled when multigraft was installed.
    """
    path = Path(__file__).with_name(_LIBRARY)
    if not path.exists():
        raise MissingDependencyError(
            "the delegate that runs binary operators is not part of this installation",
            "install multigraft from a wheel for this processor, or once more where there is a C compiler (cc)",
        )
    return path


def available_kernels() -> tuple[str, ...]:
    """Names of the kernels that this processor runs, fastest first.

    Raises:
        MissingDependencyError: The library is not there, or is for another processor.
    """
    try:
        named = ctypes.CDLL(str(library_path())).multigraft_binary_kernels
    except (OSError, AttributeError) as error:
        raise MissingDependencyError(
            f"the delegate that runs binary operators cannot be loaded ({error})",
            "install multigraft for this processor",
        ) from error
    named.restype = ctypes.c_char_p
    names: list[str] = []
    while (name := named(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def load(backend: Backend) -> Any:
    """The delegate as this interpreter holds it, whatever its version.

    Raises:
        MissingDependencyError: The library is not there, or is for another processor.
        UsageError: The environment variable :data:`KERNELS` names kernels that this processor does not run.
    """
    kernels, asked = available_kernels(), os.environ.get(KERNELS, "")
    if asked and asked not in kernels:
        raise UsageError(
            f"this processor has no binary kernels {asked!r} ({KERNELS})", f"choose from: {', '.join(kernels)}"
        )
    return backend.module.load_delegate(str(library_path()), {"kernels": asked or kernels[0]})
