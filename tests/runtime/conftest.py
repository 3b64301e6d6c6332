"""Every engine test runs on every interpreter there is: tflite-runtime ends at 3.11, LiteRT has no 32-bit Arm."""

import platform
import sys

import pytest

from multigraft.errors import MissingDependencyError
from multigraft.runtime.backends import BackendName, InterpreterName, load_backend

BACKENDS: tuple[InterpreterName, ...] = ("litert", "tflite-runtime") if sys.version_info < (3, 12) else ("litert",)
if platform.machine() == "armv7l":
    BACKENDS = ("tflite-runtime",)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> BackendName:
    try:
        load_backend(request.param)
    except MissingDependencyError as error:
        pytest.fail(str(error))
    name: BackendName = request.param
    return name
