"""Runs a program by the operators' numpy references: what the firmware has to answer, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.program.program import Program
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Tensor


def evaluate(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of all tasks for one set of inputs.

    Args:
        program: What :func:`multigraft.firmware_gen.program.program.load` gave and the generator accepted.
        inputs: Stored inputs by tensor name, of the tensors' shapes and dtypes.

    Returns:
        Stored outputs by tensor name.
    """
    return evaluate_sequence(program, [inputs])[0]


def evaluate_sequence(program: Program, frames: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The outputs for one set of inputs after the other, variables being kept in between."""
    variables: dict[str, Array] = dict(program.variables)
    return [_evaluate(program, inputs, variables) for inputs in frames]


def _evaluate(program: Program, inputs: Mapping[str, Array], variables: dict[str, Array]) -> dict[str, Array]:
    values: dict[str, Array] = {**inputs, **variables}
    for step in program.steps:
        node = step.node
        given = [None if t is None else values[t.name] if t.data is None else t.data for t in node.inputs]
        answers = OPERATORS[node.name].references(node, given)
        values |= {tensor.name: answer for tensor, answer in zip(node.outputs, answers, strict=True)}
    variables.update({name: values[name] for name in variables})
    return {t.name: values[t.name] for t in program.outputs}


def golden_vectors(program: Program, cases: int = 8, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random stored inputs, extremes among them, and their outputs, by tensor name; first axis = case, in order."""
    random = np.random.default_rng(seed)
    inputs = {}
    for tensor in program.inputs:
        stored = random.integers(-128, 128, (cases, *tensor.shape))
        for case, value in zip(range(cases), (-128, 127), strict=False):
            stored[case] = value
        if tensor.dtype == "float32":
            inputs[tensor.name] = _real(program, tensor, stored)
        else:
            # The same bits read as uint8 are as random.
            inputs[tensor.name] = stored.astype(np.int8).view(tensor.dtype)
    frames = [{name: array[case] for name, array in inputs.items()} for case in range(cases)]
    rows = evaluate_sequence(program, frames)
    return inputs, {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}


def _real(program: Program, tensor: Tensor, stored: Array) -> Array:
    """float32 inputs that QUANTIZE turns into about these values."""
    quants = [s.node.outputs[0].quant for s in program.steps if tensor.name in [t.name for t in s.node.inputs if t]]
    scale, zero_point = (q.scales[0], q.zero_points[0]) if quants and (q := quants[0]) else (1.0, 0)
    return np.asarray((stored - zero_point) * 1.01 * scale, np.float32)
