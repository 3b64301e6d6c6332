"""The TFLite interpreters there are, and the choice of one.

ai-edge-litert is preferred; tflite-runtime (last release 2.14) is for systems that have nothing newer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from multigraft.errors import MissingDependencyError, UsageError
from multigraft.installing import how_missing, install_package, repair
from multigraft.runtime.float_environment import float_environment_kept

InterpreterName = Literal["litert", "tflite-runtime"]
BackendName = Literal["auto"] | InterpreterName

CHOICE = "MULTIGRAFT_BACKEND"
"""Environment variable: the interpreter that ``auto`` takes."""

_MODULES: dict[InterpreterName, str] = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
_DISTRIBUTIONS: dict[InterpreterName, str] = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


@dataclass(frozen=True)
class Backend:
    """An installed interpreter.

    Attributes:
        name: ``litert`` or ``tflite-runtime``.
        version: Version of the installed distribution.
        module: The Python module with ``Interpreter`` and ``OpResolverType``.
    """

    name: InterpreterName
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{_DISTRIBUTIONS[self.name]} {self.version}"


def load_backend(name: BackendName = "auto") -> Backend:
    """Import an interpreter.

    Args:
        name: ``auto`` takes what the environment variable :data:`CHOICE` names; without it ai-edge-litert where that
            is installed, otherwise tflite-runtime.

    Raises:
        MissingDependencyError: It is not installed, or cannot work with the installed numpy.
        UsageError: The name is unknown.
    """
    asked = os.environ.get(CHOICE, "auto") if name == "auto" else name
    if asked == "auto":
        is_broken = False
        for candidate in _MODULES:
            try:
                return _load(candidate)
            except MissingDependencyError as error:
                # One that is installed and broken is what to mend, rather than one that is not there.
                if not is_broken:
                    reason, is_broken = error, not isinstance(error.__cause__, ModuleNotFoundError)
        if not is_broken:
            raise MissingDependencyError("no TFLite interpreter is installed", install_package("ai-edge-litert"))
        raise reason
    for known in _MODULES:
        if asked == known:
            return _load(known)
    raise UsageError(f"there is no backend {asked!r}", f"choose from: auto, {', '.join(_MODULES)}")


def _load(name: InterpreterName) -> Backend:
    distribution = _DISTRIBUTIONS[name]
    is_new_numpy = int(np.__version__.partition(".")[0]) >= 2
    if name == "tflite-runtime" and is_new_numpy and importlib.util.find_spec("tflite_runtime") is not None:
        # It would import, and fail only when an Interpreter is made, with a message about _ARRAY_API.
        raise MissingDependencyError(
            f"tflite-runtime does not work with numpy {np.__version__}",
            f"use ai-edge-litert, or {install_package('numpy<2')}",
        )
    try:
        with float_environment_kept():
            module = importlib.import_module(f"{_MODULES[name]}.interpreter")
        version = importlib.metadata.version(distribution)
    except Exception as error:
        raise MissingDependencyError(
            f"{distribution} is {how_missing(error)}", repair(error, install_package(distribution))
        ) from error
    return Backend(name, version, module)
