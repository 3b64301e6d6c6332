"""Batch norms that stand alone, also where an image has as many columns as channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.converters.conversion.rewrites.rewritten import assert_same, node_model, operators
from tests.converters.conversion.through_converter import through_converter
from tests.converters.onnx_builder import OnnxBuilder


def parameters(channels: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rng = np.random.default_rng(3)
    return [rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(4)]


def test_of_an_image_it_becomes_a_depthwise_convolution() -> None:
    new = assert_same(node_model("BatchNormalization", [1, 5, 4, 3], parameters(5), epsilon=0.01))
    assert operators(new) == {"Conv"}


@pytest.mark.parametrize("shape", [[2, 5], [1, 5, 7]])
def test_of_other_ranks_it_stays(shape: list[int]) -> None:
    assert operators(assert_same(node_model("BatchNormalization", shape, parameters(5)))) == {"BatchNormalization"}


def test_as_many_columns_as_channels_are_no_channels(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    """Mixed convolutions side by side, then a batch norm (MixNet)."""
    b = OnnxBuilder(4)
    x = b.input("x", 3, 16, 16)
    joined = b.add("Concat", "joined", b.conv("left", x, 8), b.conv("right", x, 8, 5), axis=1, channels=16)
    names = [b.constant(f"p{i}", value) for i, value in enumerate(parameters(16))]
    normed = b.add("BatchNormalization", "normed", joined, *names)
    model = b.model(b.classifier("classes", b.add("Relu", "last", normed), 4))
    counts = through_converter(model, onnx2tf_environment, tmp_path).operator_counts()
    assert (counts["DEPTHWISE_CONV_2D"], counts.get("RELU", 0)) == (1, 0)
