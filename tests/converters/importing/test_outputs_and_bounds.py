"""Outputs that do not begin with the frame, and bounds that nothing passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.importing.check import check
from multigraft.converters.importing.importer import load_network
from tests.converters.importing.network_builder import NetworkBuilder, operators, saved
from tests.converters.importing.network_builder import answers as raw_answers

LARGEST = float(np.finfo(np.float32).max)


def test_an_output_that_begins_with_a_state_has_the_frame_first(tmp_path: Path) -> None:
    b = NetworkBuilder()
    b.add("Conv", ["image", b.weight("w", 4, 3, 3, 3)], "c")
    b.add("GlobalAveragePool", ["c"], "answer")
    b.add("Reshape", ["answer", b.constant("shape", np.array([2, 1, 2]))], "state")
    model = b.model("answer", "state")
    lines: list[str] = []
    network = load_network(saved(model, tmp_path), report=lines.append)
    assert network.shapes[network.outputs[1]] == (2, 1, 2)
    assert any("output state of network.onnx is not float32 with the frame first" in line for line in lines)
    x = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    together = network.run(x)[network.outputs[1]]
    assert together.shape == (3, 2, 1, 2)
    for frame, state in zip(x, together, strict=True):
        np.testing.assert_allclose(state, raw_answers(model, frame[None])[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "bound", "is_left_out"),
    [
        ("Max", -np.inf, True),
        ("Max", -LARGEST, True),
        ("Min", np.inf, True),
        ("Max", np.inf, False),
        ("Max", 0.0, False),
    ],
)
def test_a_bound_that_nothing_passes_is_left_out(
    operator: str, bound: float, is_left_out: bool, tmp_path: Path
) -> None:
    b = NetworkBuilder()
    b.add("Conv", ["image", b.weight("w", 4, 3, 3, 3)], "c")
    b.add(operator, [b.constant("bound", np.float32(bound)), "c"], "bounded")
    b.add("Sigmoid", ["bounded"], "answer")
    model = b.model("answer")
    network = load_network(saved(model, tmp_path))
    assert (operator not in operators(network)) == is_left_out
    x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    np.testing.assert_allclose(network.run(x)[network.outputs[0]], raw_answers(model, x)[0], rtol=1e-5, atol=1e-6)


def test_an_output_that_is_listed_twice_is_given_once(tmp_path: Path) -> None:
    b = NetworkBuilder()
    b.add("Conv", ["image", b.weight("w", 4, 3, 3, 3)], "c")
    b.add("GlobalAveragePool", ["c"], "g")
    b.add("Flatten", ["g"], "answer")
    b.add("Relu", ["answer"], "bound")
    model = b.model("answer", "bound", "answer")
    lines: list[str] = []
    network = load_network(saved(model, tmp_path), report=lines.append)
    assert network.outputs == ("network/answer", "network/bound")
    assert any("lists its output answer more than once" in line for line in lines)
    assert not check(str(tmp_path / "network.onnx")).problems
    x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    np.testing.assert_allclose(network.run(x)["network/answer"], raw_answers(model, x)[0], rtol=1e-5, atol=1e-6)
