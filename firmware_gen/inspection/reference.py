"""Runs a program by the operators' numpy references: what the firmware has to answer, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from multigraft.bundle.bundle import GOLDEN_INPUTS, Bundle
from multigraft.errors import MultigraftError
from multigraft.firmware_gen.inspection.early_answers import EarlyAnswers
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.program.program import Program
from multigraft.npz import read_npz
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
    """The outputs for one set of inputs after the other, variables and the audits of early exits being kept between."""
    variables: dict[str, Array] = dict(program.variables)
    early = EarlyAnswers(program)
    return [_evaluate(program, inputs, variables, early) for inputs in frames]


def _evaluate(
    program: Program, inputs: Mapping[str, Array], variables: dict[str, Array], early: EarlyAnswers
) -> dict[str, Array]:
    values: dict[str, Array] = {**inputs, **variables}
    for step in program.steps:
        node = step.node
        given = [None if t is None else values[t.name] if t.data is None else t.data for t in node.inputs]
        answers = OPERATORS[node.name].references(node, given)
        values |= {tensor.name: answer for tensor, answer in zip(node.outputs, answers, strict=True)}
    variables.update({name: values[name] for name in variables})
    early.settle(values)
    return {t.name: values[t.name] for t in program.outputs}


def golden_vectors(
    program: Program, cases: int = 8, seed: int = 0, given: Mapping[str, Array] | None = None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random stored inputs, extremes among them, and their outputs, by tensor name; first axis = case, in order.

    Args:
        program: What is asked.
        cases: How many.
        seed: Of the inputs.
        given: Stored inputs by name, first axis = case, that frames with early exits are chosen among as well: of each
            way through the exits there are some, as far as any of the inputs takes it.
    """
    if not program.exits:
        inputs = _random_inputs(program, cases, seed)
    else:
        inputs = _chosen(program, _joined(given or {}, _random_inputs(program, 2 * cases, seed)), cases)
    rows = evaluate_sequence(program, _frames(inputs))
    return inputs, {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}


def golden_inputs(source: bytes | Bundle) -> dict[str, Array]:
    """The golden inputs of a bundle by tensor name, first axis = case; empty where it has none, or for a file."""
    if not isinstance(source, Bundle):
        return {}
    try:
        stored = read_npz(source.read(GOLDEN_INPUTS))
        specs = [source.manifest.tensor(i.tensor) for i in source.manifest.inputs]
        return {s.name: stored[s.name].astype(s.dtype, casting="no").reshape(-1, *s.shape) for s in specs}
    except (MultigraftError, KeyError, TypeError, ValueError):
        return {}


def _joined(given: Mapping[str, Array], made: Mapping[str, Array]) -> dict[str, Array]:
    """Those given before those made, if they are of these inputs."""
    fit = all(name in given and given[name].dtype == array.dtype for name, array in made.items())
    return {name: np.concatenate([given[name], array]) for name, array in made.items()} if fit else dict(made)


def _frames(inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    cases = len(next(iter(inputs.values())))
    return [{name: array[case] for name, array in inputs.items()} for case in range(cases)]


def _chosen(program: Program, inputs: Mapping[str, Array], cases: int) -> dict[str, Array]:
    """The first frames of each way through the exits in turn."""
    said = [found.said for found in program.exits]
    ways: dict[tuple[int, ...], list[int]] = {}
    for case, row in enumerate(evaluate_sequence(program, _frames(inputs))):
        ways.setdefault(tuple(int(row[name][0]) for name in said), []).append(case)
    turns = [case for turn in itertools.zip_longest(*ways.values()) for case in turn if case is not None]
    return {name: array[turns[:cases]] for name, array in inputs.items()}


def _random_inputs(program: Program, cases: int, seed: int) -> dict[str, Array]:
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
    return inputs


def _real(program: Program, tensor: Tensor, stored: Array) -> Array:
    """float32 inputs that QUANTIZE turns into about these values."""
    quants = [s.node.outputs[0].quant for s in program.steps if tensor.name in [t.name for t in s.node.inputs if t]]
    scale, zero_point = (q.scales[0], q.zero_points[0]) if quants and (q := quants[0]) else (1.0, 0)
    return np.asarray((stored - zero_point) * 1.01 * scale, np.float32)
