"""Runs generated C on this machine, and the reference interpreter beside it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.firmware_gen.inspection.reference import evaluate_sequence
from multigraft.firmware_gen.program.program import Program, load
from multigraft.firmware_gen.project.project import Project
from multigraft.tensors.arrays import Array
from multigraft.tflite import tflite_file

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wno-sign-conversion"]
SANITIZERS = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1"]
"""Without optimisation no access is left out before it is looked at, and compiling takes half the time."""

MAIN = r"""
#include <stdio.h>
#include "model.h"
#ifdef FORBIDDEN
#include <sanitizer/asan_interface.h>
static const uint32_t forbidden[][2] = {FORBIDDEN};
#endif
int main(void)
{
    uint32_t mask;
#ifdef FORBIDDEN
    for (uint32_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        __asan_poison_memory_region(model_inputs[0].data - FIRST_INPUT + forbidden[i][0], forbidden[i][1]);
#endif
    while (fread(&mask, sizeof mask, 1, stdin) == 1) {
        for (int i = 0; i < MODEL_INPUT_COUNT; i++)
            if (fread(model_inputs[i].data, 1, model_inputs[i].bytes, stdin) != model_inputs[i].bytes)
                return 2;
        if (model_run(mask) != 0)
            return 3;
        for (int i = 0; i < MODEL_OUTPUT_COUNT; i++)
            fwrite(model_outputs[i].data, 1, model_outputs[i].bytes, stdout);
    }
    return 0;
}
"""


def gcc(folder: Path, program: Path, *arguments: str) -> Path:
    """Compile for this machine, in ``folder``; returns the program."""
    if shutil.which("gcc") is None:
        pytest.skip("firmware tools: install gcc libc6-dev")
    command = ["gcc", *arguments, "-o", str(program)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return program


def compile_host(project: Project, folder: Path, *flags: str, main: str = MAIN) -> Path:
    """The project and a main, or else one that reads masks and inputs from stdin, compiled for this machine."""
    for name, text in {**project.files, "main.c": main}.items():
        (folder / name).write_text(text)
    return gcc(folder, folder / "program", *WARNINGS, *(flags or ("-O1",)), "model.c", "main.c")


def run_host(
    program: Path, project: Project, inputs: list[Array], mask: int | list[int] | None = None
) -> dict[str, Array]:
    """Outputs by name, cases first; ``inputs`` holds one array per model input, cases first; ``mask`` may be a list."""
    cases = len(inputs[0])
    masks = mask if isinstance(mask, list) else [(1 << len(project.tasks)) - 1 if mask is None else mask] * cases
    words = np.array(masks, np.uint32)
    data = b"".join(words[case].tobytes() + b"".join(i[case].tobytes() for i in inputs) for case in range(cases))
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    rows = np.frombuffer(done.stdout, np.uint8).reshape(cases, -1)
    ends = np.cumsum([o.size for o in project.outputs])
    parts = np.split(rows, ends[:-1], axis=1)
    return {
        o.name: np.ascontiguousarray(p).view(o.dtype).reshape(cases, *o.shape)
        for o, p in zip(project.outputs, parts, strict=True)
    }


def interpreter(model: bytes) -> Any:
    """tflite-runtime 2.14 with its reference kernels, which the contract is bit-exact to."""
    runtime = pytest.importorskip("tflite_runtime.interpreter", reason="hardware: no tflite-runtime for this Python")
    made = runtime.Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_REF
    )
    made.allocate_tensors()
    return made


def reference(model: bytes, inputs: list[Array]) -> list[Array]:
    """Per output of a plain model the reference interpreter's answers, cases first.

    Of a model with SUM these are numpy's, as the interpreter's kernel takes int8 for uint8 there, and of a binary one,
    of which it knows nothing. 4-bit weights, which it refuses, are given to it as the same numbers in int8.
    """
    held = tflite_file.read(model, stateful=True)
    if any(op.name in ("SUM", "CUSTOM") for graph in held.subgraphs for op in graph.ops):
        return list(evaluate(load(model), inputs).values())
    if any(t.dtype == "int4" for t in held.main.tensors.values()):
        wide = {n: replace(t, dtype="int8") if t.dtype == "int4" else t for n, t in held.main.tensors.items()}
        model = tflite_file.write(replace(held, subgraphs=(replace(held.main, tensors=wide),)))
    made = interpreter(model)
    rows = []
    for case in zip(*inputs, strict=True):
        for detail, value in zip(made.get_input_details(), case, strict=True):
            made.set_tensor(detail["index"], value.reshape(detail["shape"]))
        made.invoke()
        rows.append([made.get_tensor(d["index"]).copy() for d in made.get_output_details()])
    return [np.stack(r) for r in zip(*rows, strict=True)]


def evaluate(program: Program, inputs: list[Array]) -> dict[str, Array]:
    """Outputs by name as numpy has them, cases first; ``inputs`` holds one array per model input, cases first."""
    names = [t.name for t in program.inputs]
    rows = evaluate_sequence(program, [dict(zip(names, case, strict=True)) for case in zip(*inputs, strict=True)])
    return {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}


def stimuli(shape: tuple[int, ...], cases: int, seed: int = 0) -> Array:
    """Random int8 inputs with all extremes among them: constants, checkerboards, narrow and bimodal ones."""
    random = np.random.default_rng(seed)
    values = random.integers(-128, 128, (cases, *shape)).astype(np.int8)
    constants = (-128, 127, 0, -1, 1)
    for case in range(min(cases, len(constants))):
        values[case] = constants[case]
    for case in range(len(constants), cases, 4):
        values[case] = random.choice(np.array([-128, 127], np.int8), shape)
    for case in range(len(constants) + 1, cases, 8):
        values[case] = np.clip(random.normal(random.integers(-100, 100), 12, shape), -128, 127).astype(np.int8)
    return values
