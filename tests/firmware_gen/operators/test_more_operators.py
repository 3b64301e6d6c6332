"""Operators beyond those of small classifiers: numpy, C and tflite-runtime's reference kernels give the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.program.program import load
from tests.firmware_gen.host import compile_host, evaluate, reference, run_host, stimuli
from tests.firmware_gen.models import activation, ints, single
from tests.firmware_gen.operators.more_models import MORE, bilinear, bytes_of, constant, log_softmax, quantised

CASES = 40


def assert_same(model: bytes, folder: Path, cases: int = CASES) -> None:
    """numpy, C and the reference interpreter agree on every output."""
    program = load(model)
    inputs = [
        np.random.default_rng(seed).normal(0, 4, (cases, *t.shape)).astype(np.float32)
        if t.dtype == "float32"
        else stimuli(t.shape, cases, seed).view(t.dtype)
        for seed, t in enumerate(program.inputs)
    ]
    wanted = reference(model, inputs)
    evaluated = evaluate(program, inputs)
    project = generate(model, core=M3)
    answers = run_host(compile_host(project, folder), project, inputs)
    for tensor, want in zip(program.outputs, wanted, strict=True):
        np.testing.assert_array_equal(evaluated[tensor.name], want)
        np.testing.assert_array_equal(answers[tensor.name].reshape(want.shape), want)


@pytest.mark.parametrize("name", MORE)
def test_operator_equals_the_reference_kernel(name: str, tmp_path: Path) -> None:
    assert_same(MORE[name](), tmp_path)


def assert_numpy_is_same(model: bytes) -> None:
    """numpy and the reference interpreter agree; the C is held to numpy above."""
    program = load(model)
    inputs = [stimuli(t.shape, 12, seed).view(t.dtype) for seed, t in enumerate(program.inputs)]
    wanted = reference(model, inputs)
    evaluated = evaluate(program, inputs)
    for tensor, want in zip(program.outputs, wanted, strict=True):
        np.testing.assert_array_equal(evaluated[tensor.name], want)


SCALES = st.floats(1e-4, 2.0)
ZEROS = st.integers(-128, 127)


@settings(max_examples=60, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, st.sets(st.integers(0, 3), min_size=1))
def test_means_of_any_scale(a: float, za: int, b: float, zb: int, axes: set[int]) -> None:
    shape = (2, 3, 4, 5)
    result = tuple(n for k, n in enumerate(shape) if k not in axes)
    source, out = activation("in", shape, a, za), activation("out", result, b, zb)
    assert_numpy_is_same(single("MEAN", [source, ints("axes", sorted(axes))], out, 2, keep_dims=False))


@settings(max_examples=60, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS)
def test_prelu_of_any_scale(a: float, za: int, s: float, zs: int, b: float, zb: int) -> None:
    slopes = constant(activation("slopes", (1, 1, 6), s, zs))
    assert_numpy_is_same(
        single("PRELU", [activation("in", (1, 2, 3, 6), a, za), slopes], activation("out", (1, 2, 3, 6), b, zb))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 24), st.integers(1, 24), st.sampled_from(["", "a", "h"]))
def test_bilinear_of_any_size(height: int, width: int, rows: int, columns: int, flag: str) -> None:
    assert_numpy_is_same(bilinear((rows, columns), flag == "a", flag == "h", (height, width)))


@settings(max_examples=60, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, st.sampled_from([("int8", "uint8"), ("uint8", "int8"), ("int8", "int8")]))
def test_quantize_of_any_scale(a: float, za: int, b: float, zb: int, types: tuple[str, str]) -> None:
    offsets = [128 if kind == "uint8" else 0 for kind in types]
    source = bytes_of("in", (1, 64), types[0], a, za + offsets[0])
    assert_numpy_is_same(quantised(source, bytes_of("out", (1, 64), types[1], b, zb + offsets[1])))


@settings(max_examples=40, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS, st.booleans())
@example(1.0, 0, 2.0, 0, 1e-4, 0, False)
def test_products_of_any_scale(a: float, za: int, b: float, zb: int, c: float, zc: int, adj_y: bool) -> None:
    other = (2, 3, 4) if adj_y else (2, 4, 3)
    operands = [activation("a", (2, 5, 4), a, za), activation("b", other, b, zb)]
    assert_numpy_is_same(
        single("BATCH_MATMUL", operands, activation("out", (2, 5, 3), c, zc), 3, adj_x=False, adj_y=adj_y)
    )


@settings(max_examples=80, deadline=None)
@given(st.floats(1e-6, 15.0), ZEROS, st.integers(1, 70))
def test_log_softmax_of_any_scale(scale: float, zero_point: int, depth: int) -> None:
    assert_numpy_is_same(log_softmax((2, depth), scale, zero_point))


@pytest.mark.parametrize(
    ("scales", "wanted"),
    [
        ((0.05, -11, 0.05, -11), [[-128, 127], [28, 24], [126, -69]]),
        ((0.05, -11, 0.12, 7), [[-128, 127], [24, 22], [64, -17]]),
        ((1.0, 0, 2.0, 0), [[-128, 127], [3, 1], [52, -45]]),
    ],
)
def test_sums_are_those_of_tensorflow_lite_micro(
    scales: tuple[float, int, float, int], wanted: list[list[int]]
) -> None:
    """As its Python package (tflite-micro) answered once; 60 random models differed in no bit from numpy."""
    rows = np.array([[[-128] * 3, [127] * 3], [[1, 2, 3], [-7, 0, 9]], [[100, -1, 5], [-20, -30, -41]]], np.int8)
    source, out = activation("in", (2, 3), *scales[:2]), activation("out", (2,), *scales[2:])
    model = single("SUM", [source, ints("axes", [1])], out, 1, keep_dims=False)
    assert evaluate(load(model), [rows])["out"].tolist() == wanted
