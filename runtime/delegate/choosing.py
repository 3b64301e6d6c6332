"""Which models need the delegate, and on which interpreters it may run.

The delegate lays hands on structs of the interpreter, where a wrong layout would write over memory. It is known to be
right for the versions in :data:`_KNOWN`; another one is first tried in a child process.
"""

from __future__ import annotations

import functools
from typing import Any

from multigraft.errors import MissingDependencyError
from multigraft.runtime.backends import Backend, InterpreterName
from multigraft.runtime.delegate import canary
from multigraft.runtime.delegate.library import library_path, load
from multigraft.tflite.operators import BINARY

_KNOWN: dict[InterpreterName, tuple[str, ...]] = {"litert": ("2.1.", "2.3."), "tflite-runtime": ("2.14.",)}
"""Versions on which all tests and the comparison with Larq Compute Engine have passed."""


def delegates_for(operators: frozenset[str], backend: Backend, where: str) -> list[Any]:
    """The delegates that an interpreter needs for a model.

    Args:
        operators: Names of the model's custom operators.
        backend: The interpreter.
        where: What to call the model in a message.

    Returns:
        One for binary operators, none where there are no such operators.

    Raises:
        MissingDependencyError: The delegate is not there, or does not work with this version of the interpreter.
        UsageError: The environment variable :data:`.library.KERNELS` names kernels that this processor does not run.
    """
    if not operators & BINARY:
        return []
    library_path()
    if (refusal := refusal_of(backend)) is not None:
        raise MissingDependencyError(
            f"{where} has binary operators, and the delegate for them does not work with {backend} ({refusal})",
            f"use {known_versions()}, or a model without such operators",
        )
    return [load(backend)]


def known_versions() -> str:
    """The interpreters that it was tried with."""
    return " or ".join(f"{name} {' or '.join(v + 'x' for v in versions)}" for name, versions in _KNOWN.items())


def refusal_of(backend: Backend) -> str | None:
    """Why the delegate does not run on an interpreter; None where it does."""
    if backend.version.startswith(_KNOWN[backend.name]):
        return None
    return _tried(backend.name, backend.version)


@functools.cache
def _tried(name: InterpreterName, version: str) -> str | None:
    return canary.try_in_child(name)
