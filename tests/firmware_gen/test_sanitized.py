"""Generated C under AddressSanitizer and UndefinedBehaviorSanitizer: no kernel touches a byte beside its own buffers.

An arena is one array, in which a sanitizer sees no borders. Here every buffer gets a place of its own, and the memory
between them is forbidden. Inputs are random, extreme, and the golden ones. MULTIGRAFT_BENCH_MODELS may name a folder
with further models and bundles.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.firmware_gen import generate, generator
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.inspection.reference import golden_vectors
from multigraft.firmware_gen.program.program import load
from multigraft.firmware_gen.project.project import Project
from tests.firmware_gen.batch import models_in, opened, wanted_answers
from tests.firmware_gen.borders import apart, borders
from tests.firmware_gen.host import SANITIZERS, compile_host, run_host, stimuli
from tests.firmware_gen.inspection.test_machine_code import dense_layers, mobile, small_operators, zoo
from tests.firmware_gen.mlperf_shapes import SHAPES
from tests.firmware_gen.models import real_valued, remembering, residual, separable, streamed
from tests.firmware_gen.operators import test_operators
from tests.firmware_gen.operators.binary_models import BINARY
from tests.firmware_gen.operators.more_models import MORE
from tests.firmware_gen.operators.recurrent_models import RECURRENT

FOLDER = "MULTIGRAFT_BENCH_MODELS"
CASES = 40
NETWORKS = {
    "residual": residual,
    "streamed": streamed,
    "separable": separable,
    "every shape": zoo,
    "in place": mobile,
    "small operators": small_operators,
    "dense": dense_layers,
    "variables": remembering,
    "real": real_valued,
}
GIVEN: dict[str, Callable[[], bytes | Bundle]] = {
    path.stem: partial(lambda path: opened(str(path))[path.stem], path) for path in models_in(os.environ.get(FOLDER))
}
UNEQUAL = {f"unequal {name}": make for name, make in test_operators.UNEQUAL.items()}
MODELS: dict[str, Callable[[], bytes | Bundle]] = {
    **test_operators.MODELS,
    **UNEQUAL,
    **MORE,
    **RECURRENT,
    **BINARY,
    **NETWORKS,
}
MODELS |= {**SHAPES, **GIVEN} if GIVEN else {}


def forbidden(project: Project) -> list[str]:
    """Compiler flags that name what lies between the buffers."""
    return [f"-DFORBIDDEN={borders(project)}", f"-DFIRST_INPUT={project.inputs[0].offset}"]


@pytest.fixture(autouse=True)
def _buffers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "plan", apart)


@pytest.mark.parametrize(("name", "core"), [*((n, "m3") for n in MODELS), *((n, "m0plus") for n in NETWORKS)])
def test_no_byte_beside_its_buffers_is_touched(name: str, core: str, tmp_path: Path) -> None:
    """The portable C of cores with many and with few registers."""
    model = MODELS[name]()
    program = load(model)
    project = generate(model, core=CORES[core])
    inputs = []
    for seed, (tensor, golden) in enumerate(zip(program.inputs, golden_vectors(program)[0].values(), strict=True)):
        real = tensor.dtype == "float32"
        made = test_operators.floats(tensor.shape, seed)[:CASES] if real else stimuli(tensor.shape, CASES, seed)
        made = made if real else made.view(tensor.dtype)
        inputs.append(np.concatenate([made, golden]))
    multiply = ["-DMG_MULTIPLY_32"] if core == "m0plus" else []
    host = compile_host(project, tmp_path, *SANITIZERS, *forbidden(project), *multiply)
    answers = run_host(host, project, inputs)
    for answer, wanted in zip(answers.values(), wanted_answers(model, project, inputs), strict=True):
        np.testing.assert_array_equal(answer, wanted)


@pytest.mark.parametrize("wrong", ["out[-1] = 0;", "out[n] = 0;", "out[0] = in[n];"])
def test_one_byte_beside_is_found(wrong: str, tmp_path: Path) -> None:
    project = generate(test_operators.MODELS["relu"](), core=CORES["m3"])
    text = project.files["model.c"].replace(
        "    for (int32_t i = 0; i < n; i++)", f"    {wrong}\n    for (int32_t i = 0; i < n; i++)"
    )
    project = Project(**{**vars(project), "files": {**project.files, "model.c": text}})
    host = compile_host(project, tmp_path, *SANITIZERS, *forbidden(project))
    with pytest.raises(AssertionError, match="use-after-poison"):
        run_host(host, project, [stimuli((1, 16, 16), 1)])
