"""Finds the delegate's library, and hands it to an interpreter.

The library needs neither Python nor the interpreter's headers: it declares the few structs of TensorFlow Lite's C
interface that it touches (``c/tflite_abi.h``). Their layout is known for the versions in :data:`_KNOWN`, and no other
is tried: a wrong one would not fail, but write over memory.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from multigraft.errors import MissingDependencyError, UsageError
from multigraft.runtime.backends import Backend, InterpreterName
from multigraft.tflite.operators import BINARY

KERNELS = "MULTIGRAFT_BINARY_KERNELS"
"""Environment variable: the kernels to take, one of :func:`available_kernels`; without it the first."""

_LIBRARY = "libmultigraft_binary.so"
_KNOWN: dict[InterpreterName, tuple[str, ...]] = {"litert": ("2.",), "tflite-runtime": ("2.14.",)}
_ERROR_REPORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


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


def delegates_for(operators: frozenset[str], backend: Backend, where: str) -> list[Any]:
    """The delegates that an interpreter needs for a model.

    Args:
        operators: Names of the model's custom operators.
        backend: The interpreter.
        where: What to call the model in a message.

    Returns:
        One for binary operators, none where there are no such operators.

    Raises:
        MissingDependencyError: The delegate is not there, or does not know this version of the interpreter.
        UsageError: The environment variable :data:`KERNELS` names kernels that this processor does not run.
    """
    if not operators & BINARY:
        return []
    if not backend.version.startswith(_KNOWN[backend.name]):
        known = " and ".join(f"{name} {'/'.join(v + 'x' for v in versions)}" for name, versions in _KNOWN.items())
        raise MissingDependencyError(
            f"{where} has binary operators, and the delegate for them does not know {backend}",
            f"use {known}, or a model without such operators",
        )
    kernels, asked = available_kernels(), os.environ.get(KERNELS, "")
    if asked and asked not in kernels:
        raise UsageError(
            f"this processor has no binary kernels {asked!r} ({KERNELS})", f"choose from: {', '.join(kernels)}"
        )
    options = {"kernels": asked or kernels[0]}
    return [backend.module.load_delegate(str(library_path()), options)]
