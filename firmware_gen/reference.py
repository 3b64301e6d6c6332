"""Runs a program by the operators' numpy references: what the firmware has to answer, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
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
    values: dict[str, Array] = dict(inputs)
    for step in program.steps:
        node = step.node
        given = [None if t is None else values[t.name] if t.data is None else t.data for t in node.inputs]
        values[node.outputs[0].name] = OPERATORS[node.name].reference(node, given)
    return {t.name: values[t.name] for t in program.outputs}


def golden_vectors(program: Program, cases: int = 8, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random inputs, extremes among them, and their outputs, by tensor name, first axis = case."""
    random = np.random.default_rng(seed)
    inputs = {t.name: random.integers(-128, 128, (cases, *t.shape)).astype(np.int8) for t in program.inputs}
    for case, value in zip(range(cases), (-128, 127), strict=False):
        for array in inputs.values():
            array[case] = value
    rows = [evaluate(program, {name: array[case] for name, array in inputs.items()}) for case in range(cases)]
    return inputs, {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}
