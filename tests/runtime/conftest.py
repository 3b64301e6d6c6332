"""Every engine test runs on every interpreter of this Python version: tflite-runtime has none after 3.11."""

import sys

import pytest

from multigraft.errors import MissingDependencyError
from multigraft.runtime.backends import BackendName, InterpreterName, load_backend

BACKENDS: tuple[InterpreterName, ...] = ("litert", "tflite-runtime") if sys.version_info < (3, 12) else ("litert",)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> BackendName:
    try:
        load_backend(request.param)
    except MissingDependencyError as error:
        pytest.fail(str(error))
    name: BackendName = request.param
    return name
