"""Unrolled recurrent layers against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.conversion.rewrites.rewritten import assert_same, node_model, operators

STEPS, BATCH, INPUTS, SIZE = 4, 2, 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ("y", "h", "c"), "GRU": ("y", "h"), "RNN": ("y", "h")}


def layer(kind: str, directions: int, *optional: Any, outputs: tuple[str, ...] = (), **attributes: Any) -> Any:
    rng = np.random.default_rng(3)
    rows = GATES[kind] * SIZE
    shapes = (directions, rows, INPUTS), (directions, rows, SIZE)
    weights = [rng.standard_normal(s).astype(np.float32) * np.float32(0.5) for s in shapes]
    return node_model(
        kind, (STEPS, BATCH, INPUTS), [*weights, *optional], outputs or OUTPUTS[kind], hidden_size=SIZE, **attributes
    )


def values(*shape: int) -> Any:
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_every_direction(kind: str, direction: str, has_bias: bool) -> None:
    count = 2 if direction == "bidirectional" else 1
    bias = [values(count, 2 * GATES[kind] * SIZE)] if has_bias else []
    new = assert_same(layer(kind, count, *bias, direction=direction))
    assert kind not in operators(new)


@pytest.mark.parametrize("kind", GATES)
def test_initial_states_and_lengths(kind: str) -> None:
    lengths = np.array([STEPS, 2], np.int32)
    states = [values(1, BATCH, SIZE)] * (2 if kind == "LSTM" else 1)
    assert_same(layer(kind, 1, values(1, 2 * GATES[kind] * SIZE), lengths, *states))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("outputs", [("y",), ("", "h")])
def test_outputs_that_nobody_reads_may_be_missing(kind: str, outputs: tuple[str, ...]) -> None:
    assert_same(layer(kind, 1, outputs=outputs))


@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_gru_resets_before_or_after_the_matrix(linear_before_reset: int) -> None:
    assert_same(layer("GRU", 1, values(1, 6 * SIZE), linear_before_reset=linear_before_reset))


def test_lstm_with_peepholes() -> None:
    assert_same(layer("LSTM", 1, values(1, 8 * SIZE), None, None, None, values(1, 3 * SIZE)))


def test_other_activations_and_a_clip() -> None:
    assert_same(layer("RNN", 1, activations=["Relu"]))
    assert_same(layer("LSTM", 1, activations=["Sigmoid", "Softsign", "Relu"], clip=0.3))


def test_activations_with_parameters_stay() -> None:
    model = layer("RNN", 1, activations=["LeakyRelu"], activation_alpha=[0.1])
    assert operators(assert_same(model)) == {"RNN"}
