"""Relatives that the benchmarks make: gradients are right, and what a degree does not tune stays to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from multigraft.converters.network.network import Network
from tests.benchmarks.demo_networks import demo_task
from tests.benchmarks.family.gradients import forward, gradients
from tests.benchmarks.family.tuning import Degree, tuned

NETWORK = demo_task("garment").network


def test_gradients_are_those_of_small_steps() -> None:
    random, step = np.random.default_rng(0), 1e-7
    x = np.moveaxis(random.normal(size=(2, 1, 28, 28)), 1, 0)
    constants = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in NETWORK.constants.items()}
    output, weights = NETWORK.outputs[0], random.normal(size=(10, 2))

    def total(constants: dict[str, npt.NDArray[Any]]) -> float:
        return float((forward(NETWORK.nodes, constants, {NETWORK.input: x})[0][output] * weights).sum())

    values, ways = forward(NETWORK.nodes, constants, {NETWORK.input: x})
    found = gradients(NETWORK.nodes, ways, output, weights)
    np.testing.assert_allclose(
        values[output].T, NETWORK.run(np.moveaxis(x, 0, 1).astype(np.float32))[output], atol=1e-4
    )
    trained = [i for n in NETWORK.nodes for i in n.input if i in constants and constants[i].dtype == np.float64]
    assert len(trained) == 24
    for name in trained:
        way = random.normal(size=constants[name].shape)
        sides = (total(constants | {name: constants[name] + s * way}) for s in (step, -step))
        slope = (next(sides) - next(sides)) / (2 * step)
        assert (found[name] * way).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize(("degree", "layers"), [("head", 1), ("block", 3)])
def test_a_relative_answers_its_task_and_keeps_what_is_not_tuned(degree: Degree, layers: int) -> None:
    labelled = demo_task("garment").labelled
    labels = np.isin(labelled.labels, (5, 7, 9)).astype(np.int64)
    model = tuned(NETWORK, degree, labelled.frames[:150], labels[:150], seed=0)
    onnx.checker.check_model(model)
    relative = Network("pair", model, NETWORK.preprocessing)
    answers = relative.run(relative.prepare(labelled.frames[150:450]))[relative.outputs[0]].argmax(1)
    assert (answers == labels[150:450]).mean() > 0.95
    own = {i.name: numpy_helper.to_array(i) for i in NETWORK.model.graph.initializer}
    held = {f"garment/{i.name}": numpy_helper.to_array(i) for i in model.graph.initializer}
    changed = {name for name in held if not np.array_equal(held[name], own[name])}
    linear = [n for n in NETWORK.nodes if n.op_type in ("Conv", "Gemm")][-layers:]
    assert changed == {i for n in linear for i in n.input[1:]}
