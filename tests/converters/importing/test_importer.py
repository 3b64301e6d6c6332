"""Import of ONNX as different exporters write it: what is folded, and that it computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from multigraft.converters.importing import simplify
from multigraft.converters.importing.batch_norm import fold_batch_norms
from multigraft.converters.importing.importer import load_network
from multigraft.errors import ConversionError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.importing.network_builder import (
    FLOAT,
    SIZE,
    NetworkBuilder,
    answer,
    answers,
    assert_same,
    operators,
    saved,
    small,
)


def test_a_network_as_exporters_write_it_becomes_linear_layers_and_activations(tmp_path: Path) -> None:
    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w1", 8, 3, 3, 3)], "c1", pads=[1] * 4)
    y = g.add("Relu", [g.batch_norm(y, "n1", 8)], "r1")
    y = g.add("ConvTranspose", [y, g.weight("w2", 8, 3, 2, 2)], "c2", strides=[2, 2], group=2)
    y = g.batch_norm(y, "n2", 6)
    batch = g.add("Gather", [g.add("Shape", [y], "shape"), g.constant("first", np.array([0]))], "batch")
    wanted = g.add("Concat", [batch, g.constant("rest", np.array([-1]))], "wanted", axis=0)
    y = g.add("Reshape", [y, wanted], "flat")
    y = g.add("Gemm", [y, g.weight("w3", 5, 6 * 256), g.weight("b3", 5)], "c3", transB=1)
    y = g.add("Dropout", [g.add("Identity", [g.batch_norm(y, "n3", 5)], "same")], "answer")
    g.add("Relu", ["r1"], "unused")
    network = assert_same(
        g.model(y, shape=["batch", 3, "height", "width"]), tmp_path, preprocessing=Preprocessing(8, 8)
    )
    assert operators(network) == ["Conv", "Relu", "ConvTranspose", "Reshape", "Gemm"]
    assert network.outputs == ("network/answer",)
    assert network.is_batched
    assert len(network.source_sha256) == 64


@pytest.mark.parametrize("shape", [[1, -1], [1, 8 * 64], [-1, 8 * 64]])
def test_a_flatten_as_torch_exports_it_follows_the_batch(shape: list[int], tmp_path: Path) -> None:
    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w1", 8, 3, 3, 3)], "c1", pads=[1] * 4)
    y = g.add("Reshape", [y, g.constant("shape", np.array(shape))], "flat", allowzero=1)
    y = g.add("Gemm", [y, g.weight("w2", 5, 8 * 64), g.weight("b2", 5)], "answer", transB=1)
    network = assert_same(g.model(y), tmp_path, preprocessing=Preprocessing(8, 8))
    assert network.is_batched
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    apart = np.concatenate([answer(network, one[None]) for one in x])
    np.testing.assert_allclose(network.run(x)["network/answer"], apart, rtol=1e-5, atol=1e-6)


def over_positions(g: NetworkBuilder) -> str:
    """A dense layer over the channels of every position, as ConvNeXt has it."""
    y = g.add("Conv", ["image", g.weight("w1", 8, 3, 3, 3)], "c1", pads=[1] * 4)
    y = g.add("Transpose", [y], "last", perm=[0, 2, 3, 1])
    y = g.add("MatMul", [y, g.weight("w2", 8, 6)], "product")
    y = g.add("Transpose", [g.add("Add", [y, g.weight("b2", 6)], "sum")], "first", perm=[0, 3, 1, 2])
    y = g.add("Conv", [y, g.weight("w3", 4, 6, 8, 8)], "c3")
    return g.add("Flatten", [y], "answer")


def attention(g: NetworkBuilder) -> str:
    """Positions in front of the batch, as PyTorch's attention has them."""
    y = g.add("Conv", ["image", g.weight("w1", 8, 3, 4, 4)], "c1", strides=[4, 4])
    y = g.add("Reshape", [y, g.constant("s1", np.array([1, 8, 4]))], "patches")
    y = g.add(
        "Reshape", [g.add("Transpose", [y], "turned", perm=[2, 0, 1]), g.constant("s2", np.array([4, 2, 4]))], "heads"
    )
    y = g.add("Add", [y, g.weight("each", 4, 2, 4)], "placed")
    y = g.add("Reshape", [y, g.constant("s3", np.array([1, 32]))], "flat")
    return g.add("Gemm", [y, g.weight("w2", 5, 32), g.weight("b2", 5)], "answer", transB=1)


@pytest.mark.parametrize(("network_of", "is_batched"), [(over_positions, True), (attention, False)])
def test_networks_that_move_the_batch_answer_every_frame_as_alone(
    network_of: Callable[[NetworkBuilder], str], is_batched: bool, tmp_path: Path
) -> None:
    g = NetworkBuilder()
    network = assert_same(g.model(network_of(g)), tmp_path, preprocessing=Preprocessing(8, 8))
    assert network.is_batched == is_batched
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    apart = np.concatenate([answer(network, one[None]) for one in x])
    np.testing.assert_allclose(network.run(x)["network/answer"], apart, rtol=1e-4, atol=1e-5)
    for point in network.cut_points:
        assert network.run(x, [point.name])[point.name].shape == (3, *point.shape)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["Conv", "ConvTranspose", "Gemm"]),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
    st.floats(0.25, 3),
    st.floats(0.25, 3),
)
def test_batch_norms_fold_into_every_linear_layer(
    operator: str, groups: int, has_bias: bool, is_transposed: bool, alpha: float, beta: float
) -> None:
    g = NetworkBuilder()
    bias = [g.weight("b", 6)] if has_bias else []
    if operator == "Gemm":
        flat, shape = g.add("Flatten", ["image"], "flat"), (6, 4 * 64) if is_transposed else (4 * 64, 6)
        g.add("Gemm", [flat, g.weight("w", *shape), *bias], "y", transB=int(is_transposed), alpha=alpha, beta=beta)
    else:
        kernel = (6, 4 // groups, 3, 3) if operator == "Conv" else (4, 6 // groups, 3, 3)
        g.add(operator, ["image", g.weight("w", *kernel), *bias], "y", group=groups)
    model = g.model(g.batch_norm("y", "answer", 6), shape=(1, 4, SIZE, SIZE))
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    assert fold_batch_norms(folded) == 1
    assert "BatchNormalization" not in [n.op_type for n in folded.graph.node]
    x = np.random.default_rng(2).standard_normal((1, 4, SIZE, SIZE), dtype=np.float32)
    np.testing.assert_allclose(answers(folded, x)[0], answers(model, x)[0], rtol=1e-4, atol=1e-4)


def test_a_batch_norm_whose_input_is_used_elsewhere_stays(tmp_path: Path) -> None:
    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w", 4, 3, 3, 3)], "c", pads=[1] * 4)
    y = g.add("Add", [g.add("Relu", [g.batch_norm(y, "n", 4)], "r"), y], "answer")
    assert "BatchNormalization" in operators(assert_same(g.model(y), tmp_path))


def test_channels_last_networks_become_channels_first(tmp_path: Path) -> None:
    g = NetworkBuilder()
    first = g.add("Transpose", ["image"], "first", perm=[0, 3, 1, 2])
    y = g.add("Relu", [g.add("Conv", [first, g.weight("w", 4, 3, 3, 3)], "c")], "answer")
    model = g.model(y, shape=("n", SIZE, SIZE, 3))
    network = load_network(saved(model, tmp_path))
    assert network.input_shape == (3, SIZE, SIZE)
    assert "Transpose" not in operators(network)
    x = np.random.default_rng(1).random((1, 3, SIZE, SIZE), dtype=np.float32)
    expected = answers(model, x.transpose(0, 2, 3, 1))[0]
    np.testing.assert_allclose(answer(network, x), expected, rtol=1e-4, atol=1e-5)


def test_channels_last_networks_that_use_their_layout_keep_it_inside(tmp_path: Path) -> None:
    g = NetworkBuilder()
    y = g.add("ReduceMean", ["image"], "means", axes=[1, 2], keepdims=0)
    model = g.model(g.add("MatMul", [y, g.weight("w", 3, 5)], "answer"), shape=(1, SIZE, SIZE, 3))
    network = load_network(saved(model, tmp_path))
    x = np.random.default_rng(1).random((1, 3, SIZE, SIZE), dtype=np.float32)
    expected = answers(model, x.transpose(0, 2, 3, 1))[0]
    np.testing.assert_allclose(answer(network, x), expected, rtol=1e-4, atol=1e-5)


def test_pixels_cast_inside_the_network_become_a_float_input(tmp_path: Path) -> None:
    g = NetworkBuilder()
    x = g.add("Cast", ["image"], "float", to=FLOAT)
    model = g.model(g.add("Conv", [x, g.weight("w", 4, 3, 3, 3)], "answer"), dtype=TensorProto.UINT8)
    network = load_network(saved(model, tmp_path))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8)
    np.testing.assert_allclose(
        answer(network, pixels.astype(np.float32)), answers(model, pixels)[0], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 20, 21])
def test_all_operator_sets_come_out_as_one(opset: int, tmp_path: Path) -> None:
    assert assert_same(small(opset=opset), tmp_path).opset == simplify.OPSET


def test_a_fixed_batch_becomes_one_frame(tmp_path: Path) -> None:
    network = load_network(saved(small(shape=(4, 3, SIZE, SIZE)), tmp_path))
    x = np.random.default_rng(1).random((4, 3, SIZE, SIZE), dtype=np.float32)
    expected = answers(small(shape=(4, 3, SIZE, SIZE)), x)[0]
    np.testing.assert_allclose(answer(network, x), expected, rtol=1e-4, atol=1e-5)


def test_weights_in_a_file_of_their_own_are_read_and_count_in_the_digest(tmp_path: Path) -> None:
    inside = load_network(saved(small(), tmp_path))
    path = tmp_path / "outside.onnx"
    onnx.save(small(), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    outside = load_network(path)
    np.testing.assert_array_equal(outside.constants["outside/w"], inside.constants["network/w"])
    data = bytearray((tmp_path / "outside.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "outside.bin").write_bytes(data)
    assert load_network(path).source_sha256 != outside.source_sha256


def test_without_preprocessing_pixels_are_taken_as_0_to_1(tmp_path: Path) -> None:
    network = load_network(saved(small(), tmp_path))
    assert network.preprocessing == Preprocessing(SIZE, SIZE)
    assert network.name == "network"


def test_a_rewrite_that_changes_the_answer_never_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(original: onnx.ModelProto) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(original)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
        return model

    monkeypatch.setattr(simplify, "_slim", wrong)
    assert_same(small(), tmp_path)
    finish = simplify._finish
    monkeypatch.setattr(simplify, "_finish", lambda model: wrong(finish(model)))
    with pytest.raises(ConversionError, match=r"differ by 0\.0"):
        load_network(saved(small(), tmp_path))
