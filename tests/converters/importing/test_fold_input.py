"""Folding normalisation and colour order into the first layer: the same answers to the same camera frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.importing.fold_input import fold_input
from multigraft.converters.network.network import Network
from multigraft.tensors.preprocessing import Color, Preprocessing
from tests.converters.onnx_builder import OnnxBuilder

SIZE = 12
FRAMES = list(np.random.default_rng(3).integers(0, 256, (5, 20, 16, 3), dtype=np.uint8))

numbers = st.floats(0.01, 200)


def model_of(layers: Any, preprocessing: Preprocessing) -> onnx.ModelProto:
    builder = OnnxBuilder()
    return builder.model(layers(builder, builder.input("image", preprocessing.channels, SIZE, SIZE)))


def left_of(layers: Any, preprocessing: Preprocessing) -> Preprocessing:
    return fold_input(model_of(layers, preprocessing), preprocessing)[1]


def answers(model: onnx.ModelProto, preprocessing: Preprocessing) -> Any:
    network = Network("n", model, preprocessing)
    return network.run(network.prepare(FRAMES))[network.outputs[0]]


def padded(b: OnnxBuilder, x: str) -> str:
    return b.conv_relu("c", x, 5)


def unpadded(b: OnnxBuilder, x: str) -> str:
    return b.add("Relu", "y", b.conv("c", x, 5, kernel=1, stride=2))


def depthwise(b: OnnxBuilder, x: str) -> str:
    return b.conv_relu("c", x, b.channels[x] * 2, kernel=1, group=b.channels[x])


def dense(b: OnnxBuilder, x: str) -> str:
    flat = b.add("Flatten", "flat", x, axis=1)
    w = b.weights("w", 7, b.channels[x] * SIZE * SIZE)
    return b.add("Gemm", "y", flat, w, b.weights("bias", 7), transB=1, alpha=0.5, beta=2.0)


def matmul(b: OnnxBuilder, x: str) -> str:
    flat = b.add("Flatten", "flat", x, axis=1)
    return b.add("MatMul", "y", flat, b.weights("w", b.channels[x] * SIZE * SIZE, 7))


def two_readers(b: OnnxBuilder, x: str) -> str:
    return b.add("Concat", "y", b.conv("c", x, 4, kernel=1), b.conv("d", x, 3, kernel=1), axis=1)


def arithmetic(b: OnnxBuilder, x: str) -> str:
    shift = b.constant("shift", np.array([0.4, 0.5, 0.3], np.float32)[None, : b.channels[x], None, None])
    spread = b.constant("spread", np.array(0.25, np.float32))
    return unpadded(b, b.add("Div", "divided", b.add("Sub", "shifted", x, shift), spread))


def skip(b: OnnxBuilder, x: str) -> str:
    return b.add("Add", "y", b.conv("c", x, b.channels[x], kernel=1), x)


ALL = [padded, unpadded, depthwise, dense, matmul, two_readers, arithmetic, skip]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(ALL),
    st.sampled_from(["rgb", "bgr", "grey"]),
    st.tuples(numbers, numbers, numbers),
    st.tuples(numbers, numbers, numbers),
    st.sampled_from(["stretch", "fit", "fill", "corner", "line"]),
)
def test_folding_never_changes_an_answer(layers: Any, color: Color, mean: Any, deviation: Any, resize: Any) -> None:
    channels = 1 if color == "grey" else 3
    scale = tuple(1 / d for d in deviation[:channels])
    preprocessing = Preprocessing(SIZE, SIZE, color, mean[:channels], scale, resize)
    model = model_of(layers, preprocessing)
    expected = answers(model, preprocessing)
    folded = answers(*fold_input(model, preprocessing))
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=2e-5 * max(1, np.abs(expected).max(), max(mean) * 50))


@pytest.mark.parametrize("layers", [unpadded, dense, two_readers, arithmetic])
def test_networks_of_any_normalisation_then_share_a_frame(layers: Any) -> None:
    imagenet = Preprocessing(SIZE, SIZE, "rgb", (123.7, 116.3, 103.5), (1 / 58.4, 1 / 57.1, 1 / 57.4))
    caffe = Preprocessing(SIZE, SIZE, "bgr", (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))
    for preprocessing in (imagenet, caffe):
        assert left_of(layers, preprocessing) == Preprocessing(SIZE, SIZE)


def test_a_mean_stays_where_zeros_are_padded_after_it() -> None:
    caffe = Preprocessing(SIZE, SIZE, "bgr", (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))
    left = Preprocessing(SIZE, SIZE, "rgb", (123.0, 117.0, 104.0))
    assert left_of(padded, caffe) == left
    fit = Preprocessing(SIZE, SIZE, "rgb", (9.0, 9.0, 9.0), resize="fit")
    assert left_of(unpadded, fit) == fit


def test_what_cannot_be_folded_is_left_alone() -> None:
    bgr = Preprocessing(SIZE, SIZE, "bgr", (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    assert left_of(skip, bgr) == bgr
    assert left_of(depthwise, bgr).color == "bgr"
    plain = Preprocessing(SIZE, SIZE)
    model = model_of(padded, plain)
    assert fold_input(model, plain) == (model, plain)


def test_new_weights_take_no_name_that_a_tensor_has() -> None:
    def clashing(b: OnnxBuilder, x: str) -> str:
        return b.conv("last", b.add("Relu", "c/folded_weight", b.conv("c", x, 4, kernel=1)), 2, kernel=1)

    seen = Preprocessing(SIZE, SIZE, "rgb", (10.0, 20.0, 30.0), (0.02, 0.03, 0.04))
    model = model_of(clashing, seen)
    expected = answers(model, seen)
    np.testing.assert_allclose(
        answers(*fold_input(model, seen)), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_what_was_folded_before_is_folded_again() -> None:
    seen = Preprocessing(SIZE, SIZE, "rgb", (10.0, 20.0, 30.0), (0.02, 0.03, 0.04))
    once, left = fold_input(model_of(padded, seen), seen)
    assert left != seen
    twice, _ = fold_input(once, seen)
    expected = answers(once, seen)
    np.testing.assert_allclose(answers(twice, left), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
