"""Runs a program by the operators' numpy references: what the firmware has to answer, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.program import Program

Array = npt.NDArray[Any]


def evaluate(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of all tasks for one set of inputs.

    Args:
        program: What :func:`multigraft.firmware_gen.program.load` gave and the generator accepted.
        inputs: Stored int8 inputs by tensor name, of the tensors' shapes.

    Returns:
        int8 outputs by tensor name.
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
        values[node.outputs[0].name] = OPERATORS[node.name].reference(node, given)
    variables.update({name: values[name] for name in variables})
    return {t.name: values[t.name] for t in program.outputs}


def golden_vectors(program: Program, cases: int = 8, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random inputs, extremes among them, and their outputs, by tensor name, first axis = case, in running order."""
    random = np.random.default_rng(seed)
    inputs = {t.name: random.integers(-128, 128, (cases, *t.shape)).astype(np.int8) for t in program.inputs}
    for case, value in zip(range(cases), (-128, 127), strict=False):
        for array in inputs.values():
            array[case] = value
    frames = [{name: array[case] for name, array in inputs.items()} for case in range(cases)]
    rows = evaluate_sequence(program, frames)
    return inputs, {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}
