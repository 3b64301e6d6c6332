"""Tensors that several operators read, or one operator twice: numpy, C and the reference kernels give the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.program.program import load
from tests.firmware_gen.host import compile_host, evaluate, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation

CASES = 60


def assert_equal(model: bytes, folder: Path) -> None:
    program = load(model)
    inputs = [stimuli(t.shape, CASES, seed) for seed, t in enumerate(program.inputs)]
    wanted = reference(model, inputs)
    evaluated = evaluate(program, inputs)
    project = generate(model, core=M3)
    answers = run_host(compile_host(project, folder), project, inputs)
    for task, want in zip(program.tasks, wanted, strict=True):
        (name,) = task.outputs
        np.testing.assert_array_equal(evaluated[name], want)
        np.testing.assert_array_equal(answers[name], want)


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_both_operands_are_one_tensor(op: str, tmp_path: Path) -> None:
    b = Builder()
    b.add(activation("in", (1, 4, 5, 9), 0.031, 12))
    features = b.conv("features", "in", 6, fused="NONE", zero_point=9, scale=0.11)
    result = activation("", b.tensors[features].shape, 0.27, -3)
    b.plain(op, "out", [features, features], result, fused_activation_function="NONE")
    assert_equal(b.model(["in"], ["out"]), tmp_path)


def test_one_tensor_is_joined_to_itself(tmp_path: Path) -> None:
    b = Builder()
    b.add(activation("in", (1, 4, 5, 9), 0.031, 12))
    result = activation("", (1, 4, 5, 18), 0.031, 12)
    b.plain("CONCATENATION", "out", ["in", "in"], result, fused_activation_function="NONE", axis=3)
    assert_equal(b.model(["in"], ["out"]), tmp_path)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_twins_with_one_set_of_weights(kind: str, tmp_path: Path) -> None:
    """A Siamese network: its halves see inputs of different scales through the same weights and bias."""
    b = Builder(5)
    shape = (1, 32) if kind == "dense" else (1, 9, 8, 4)
    b.add(activation("x", shape, 0.03, -7))
    b.add(activation("y", shape, 0.05, 11))
    if kind == "dense":
        b.dense("left", "x", 10)
    else:
        b.conv("left", "x", 4, depthwise=kind == "depthwise", fused="NONE", zero_point=2)
    twin = b.ops[-1]
    b.add(activation("right", b.tensors["left"].shape, 0.07, -5))
    b.ops.append(replace(twin, inputs=("y", *twin.inputs[1:]), outputs=("right",)))
    wide = activation("", b.tensors["left"].shape, 0.09, 3)
    b.plain("SUB", "difference", ["left", "right"], wide, fused_activation_function="NONE")
    square = activation("", wide.shape, 0.3, -128)
    b.plain("MUL", "distance", ["difference", "difference"], square, fused_activation_function="NONE")
    assert_equal(b.model(["x", "y"], ["distance", "left", "right", "difference"]), tmp_path)
