"""Operators with a state: numpy, C and tflite-runtime's reference kernels give the same bits, frame after frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.program.program import load
from tests.firmware_gen.operators.recurrent_models import RECURRENT, lstm, svdf
from tests.firmware_gen.operators.test_more_operators import ZEROS, assert_numpy_is_same, assert_same


@pytest.mark.parametrize("name", RECURRENT)
def test_frames_in_sequence_equal_the_reference_kernels(name: str, tmp_path: Path) -> None:
    assert_same(RECURRENT[name](), tmp_path)


SCALES = st.floats(0.001, 0.3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 40), st.integers(1, 12), st.tuples(SCALES, SCALES, SCALES),
    st.tuples(ZEROS, ZEROS), st.integers(-15, -9), st.sampled_from([0.0, 0.3, 5.0]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_lstm_of_any_scale(
    steps: int, inputs: int, cells: int, scales: tuple[float, float, float], zero_points: tuple[int, int],
    exponent: int, clip: float, input_gate: bool, seed: int,
) -> None:  # fmt: skip
    assert_numpy_is_same(
        lstm(
            steps, inputs, cells, seed=seed, scales=scales, zero_points=zero_points, cell_exponent=exponent, clip=clip,
            input_gate=input_gate, bias=60000,
        )
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(1, 20), st.tuples(SCALES, SCALES, SCALES),
    st.tuples(ZEROS, ZEROS), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_svdf_of_any_scale(
    inputs: int, units: int, rank: int, times: int, scales: tuple[float, float, float], zero_points: tuple[int, int],
    bias: bool, seed: int,
) -> None:  # fmt: skip
    assert_numpy_is_same(svdf(inputs, units, rank, times, seed=seed, scales=scales, zero_points=zero_points, bias=bias))


def test_reset_forgets_the_states() -> None:
    project = generate(lstm(), core=M3)
    assert project.variable_bytes == 7 + 2 * 7
    assert "void model_reset(void)" in project.files["model.h"]


def test_an_lstm_with_peepholes_is_refused_by_name() -> None:
    (step,) = load(lstm()).steps
    inputs = list(step.node.inputs)
    inputs[9] = inputs[19]
    assert "peepholes" in str(OPERATORS[step.node.name].broken(replace(step.node, inputs=tuple(inputs))))
