"""Models that would crash an interpreter are refused before it sees them: by hand, kind by kind, and by chance."""

from __future__ import annotations

import dataclasses
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from multigraft.errors import InputError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.runtime.backends import load_backend
from multigraft.runtime.untrusted import try_in_child
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Model
from tests.attack.interpreters import run_in_child
from tests.attack.mutants.tflite_mutants import TfliteMutator
from tests.attack.tflite_seeds import seeds
from tests.firmware_gen.operators.test_operators import MODELS
from tests.runtime.conftest import BACKENDS

SEEDS = seeds()
MUTANTS = 120


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        check_tflite(data, "it")
    assert caught.value.remedy
    return caught.value.problem


@pytest.mark.parametrize("name", [*SEEDS, *MODELS])
def test_models_that_run_pass(name: str) -> None:
    check_tflite(SEEDS[name] if name in SEEDS else MODELS[name](), name, is_optimised=False)


def tensor(model: Any, name: bytes) -> Any:
    return next(t for t in model.subgraphs[0].tensors if t.name == name)


def first(model: Any) -> Any:
    return model.subgraphs[0].operators[0]


def swap(model: Any) -> None:
    operators = model.subgraphs[0].operators
    operators[0], operators[1] = operators[1], operators[0]


def circle(model: Any) -> None:
    one, two = model.subgraphs[0].operators[:2]
    one.inputs = [two.outputs[0], *one.inputs[1:]]


def into_constant(model: Any) -> None:
    first(model).outputs = [first(model).inputs[1]]


def cut_weights(model: Any) -> None:
    number = tensor(model, b"trunk/conv1/weights").buffer
    model.buffers[number].data = model.buffers[number].data[:-1]


def pad(model: Any) -> None:
    """A reduction along an axis that its input does not have."""
    number = tensor(model, b"garment/mean/axes").buffer
    model.buffers[number].data = np.frombuffer(struct.pack("<2i", 1, 7), np.uint8)


def option(field: str, value: object) -> Callable[[Any], None]:
    return lambda model: setattr(first(model).builtinOptions, field, value)


def scale(*values: float) -> Callable[[Any], None]:
    return lambda model: setattr(tensor(model, b"trunk/conv1").quantization, "scale", list(values))


def of_first(field: str, value: object) -> Callable[[Any], None]:
    return lambda model: setattr(first(model), field, value)


def of_tensor(field: str, value: object) -> Callable[[Any], None]:
    return lambda model: setattr(tensor(model, b"trunk/conv1"), field, value)


def retyped(name: bytes) -> Callable[[Any], None]:
    """A tensor of int32."""
    return lambda model: setattr(tensor(model, name), "type", 2)


def of_signature(field: str, value: object) -> Callable[[Any], None]:
    return lambda model: setattr(model.signatureDefs[0], field, value)


def of_argument(value: int) -> Callable[[Any], None]:
    return lambda model: setattr(model.signatureDefs[0].inputs[0], "tensorIndex", value)


def of_code(value: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = value

    return change


CONTRADICTIONS: dict[str, tuple[Callable[[Any], None], str]] = {
    "signature to no subgraph": (of_signature("subgraphIndex", 99), "subgraph 99"),
    "signature to no tensor": (of_argument(99), "does not give"),
    "signature to an inner tensor": (of_argument(2), "does not give"),
    "signature without a name": (of_signature("signatureKey", None), "has no name"),
    "subgraph to no tensor": (lambda m: setattr(m.subgraphs[0], "inputs", [99]), "tensor 99"),
    "subgraph that gives what nothing wrote": (
        lambda m: m.subgraphs[0].operators.clear(), "written by nothing"
    ),
    "operator to no code": (of_first("opcodeIndex", 99), "operator code 99"),
    "operator to no tensor": (of_first("inputs", [0, 1, 99]), "tensor 99"),
    "operator to a tensor before the first": (of_first("inputs", [-2, 1, 2]), "tensor -2"),
    "operator without its weights": (of_first("inputs", [0]), "has 1 inputs"),
    "operator with absent weights": (of_first("inputs", [0, -1, 2]), "lacks input 1"),
    "operator of another code": (of_code(9), "options of another operator"),
    "operator of no known code": (lambda m: setattr(m.operatorCodes[0], "builtinCode", 9999), "code 9999"),
    "tensor to no buffer": (of_tensor("buffer", 99), "buffer 99"),
    "tensor of no known type": (of_tensor("type", 120), "element type 120"),
    "tensor of negative size": (of_tensor("shape", [1, -28, 28, 8]), "has shape"),
    "tensor of a terabyte": (of_tensor("shape", [1 << 20, 1 << 20]), "bytes"),
    "tensor of another shape": (of_tensor("shape", [1, 28, 28, 9]), "is said to be"),
    "weights that end early": (cut_weights, "its content has"),
    "two scales for eight channels": (scale(0.1, 0.2), "do not fit its shape"),
    "scale of zero": (scale(0.0), "has no scale"),
    "scale that is no number": (scale(float("nan")), "no positive number"),
    "scale that no kernel can work with": (scale(1e-38), "cannot work with"),
    "operators in another order": (swap, "before anything wrote it"),
    "operators in a circle": (circle, "before anything wrote it"),
    "constant that is written": (into_constant, "has a value already"),
    "scale without a reciprocal": (scale(1e-45), "cannot work with"),
    "average of another type": (retyped(b"garment/mean"), "makes int32 of int8"),
    "stride of nothing": (option("strideW", 0), "cannot work on shapes"),
    "dilation of nothing": (option("dilationHFactor", 0), "cannot work on shapes"),
    "padding of no kind": (option("padding", 7), "option that is not known"),
    "axis that is not there": (pad, "cannot work on shapes"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_named(name: str) -> None:
    change, says = CONTRADICTIONS[name]
    # One subgraph holds all operators, with a signature of its own, as in files that other tools wrote.
    graph = tflite_file.read(SEEDS["uncut"])
    model = schema.ModelT.InitFromPackedBuf(tflite_file.write(dataclasses.replace(graph)), 0)
    change(model)
    assert says in refusal(packed(model))


def overlapping(subgraphs: int, tensors: int) -> bytes:
    """So many subgraphs that are one table, whose tensors are one table: linear to say and quadratic to follow."""
    one = 36 + 4 + 4 * subgraphs
    first = one + 16 + 4 + 4 * tensors
    steps = [one + 8 - (40 + 4 * number) for number in range(subgraphs)]
    inner = [first + 4 - (one + 20 + 4 * number) for number in range(tensors)]
    return b"".join(
        (
            struct.pack("<I4s", 24, b"TFL3"),
            # Layout of the model: subgraphs at 4, buffers at 8 behind its beginning, which is at 24.
            struct.pack("<8H", 14, 12, 0, 0, 4, 0, 8, 0),
            struct.pack("<iII", 16, 36 - 28, first + 8 - 32),
            struct.pack(f"<I{subgraphs}I", subgraphs, *steps),
            struct.pack("<4H", 6, 8, 4, 0),
            struct.pack("<iI", 8, 4),
            struct.pack(f"<I{tensors}I", tensors, *inner),
            # A tensor without fields, and one buffer of the same kind.
            struct.pack("<2Hi", 4, 4, 4),
            struct.pack("<II2Hi", 1, 8, 4, 4, 4),
        )
    )


def test_parts_that_lie_over_each_other_are_not_read_without_end() -> None:
    check_tflite(overlapping(2, 3), "a few that share a table")
    assert "over each other" in refusal(overlapping(20_000, 300))
    assert "over each other" in refusal(overlapping(300, 20_000))


def test_more_parts_than_memory_holds_are_refused() -> None:
    assert "more parts than" in refusal(overlapping(2, 1_000_000))
    assert "more parts than" in refusal(overlapping(2, 4_000_000))


@pytest.mark.parametrize("name", SEEDS)
def test_mutants_that_pass_crash_no_interpreter(name: str) -> None:
    for backend in BACKENDS:
        load_backend(backend)
    mutator = TfliteMutator(SEEDS[name], 5)
    passed = 0
    for number in range(MUTANTS):
        mutant = mutator.mutant()
        try:
            check_tflite(mutant, "the mutant")
        except InputError:
            continue
        passed += 1
        for backend in BACKENDS:
            end = run_in_child(mutant, backend, checked=False)
            assert end.kind in ("passed", "refused"), f"mutant {number}: {backend} {end}"
    assert MUTANTS // 10 < passed < MUTANTS


@pytest.mark.parametrize("name", ["bundle", "depthwise without bias", "strided slice"])
def test_mutants_become_firmware_or_are_refused(name: str) -> None:
    data = SEEDS[name] if name in SEEDS else MODELS[name]()
    mutator = TfliteMutator(data, 6)
    generated = 0
    for _ in range(40):
        try:
            generate(mutator.mutant(), core=M3)
        except InputError:
            continue
        generated += 1
    assert 0 < generated < 40


def test_what_only_a_kernel_can_find_ends_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Depthwise without a bias: the check knows it, and the child does not ask the check.
    model: Model = tflite_file.read(MODELS["depthwise without bias"]())
    with pytest.raises(InputError, match=r"crashes the interpreter litert \(SIG"):
        try_in_child(tflite_file.write(model), "litert")
    try_in_child(SEEDS["bundle"], "litert")
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    with pytest.raises(InputError, match=r"does not end its first run: it did nothing for 0\.2 s"):
        try_in_child(SEEDS["bundle"], "litert", idle_s=0.2)
