"""Operators whose meaning changed between operator sets compute the same after import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.importing.importer import load_network
from multigraft.converters.network.network import session_of
from multigraft.tensors.preprocessing import Preprocessing

SIZE = Preprocessing(4, 5, "rgb", (127.5,) * 3, (1 / 64,) * 3)


def network(path: Path, opset: int, *nodes: onnx.NodeProto, **constants: Any) -> tuple[onnx.ModelProto, Any]:
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 5])]
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(list(nodes), "old", infos, [helper.make_empty_tensor_value_info("y")], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, path / "old.onnx")
    return model, load_network(path / "old.onnx", name="old", preprocessing=SIZE)


def assert_same(model: onnx.ModelProto, imported: Any) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    (wanted,) = session_of(model, "old").run(None, {"x": x})
    (got,) = imported.run(x).values()
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_softmax_looked_at_a_matrix(kind: str, axis: int, tmp_path: Path) -> None:
    assert_same(*network(tmp_path, 11, helper.make_node(kind, ["x"], ["y"], axis=axis)))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 2), (0.5, 0.5), (1.5, 0.7)])
def test_resize_had_one_transformation(mode: str, scales: tuple[float, float], tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "scales"], ["y"], mode=mode)
    assert_same(*network(tmp_path, 10, node, scales=np.array([1, 1, *scales], np.float32)))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_had_it_too(mode: str, tmp_path: Path) -> None:
    node = helper.make_node("Upsample", ["x", "scales"], ["y"], mode=mode)
    assert_same(*network(tmp_path, 9, node, scales=np.array([1, 1, 2, 1.5], np.float32)))


def test_an_upsample_within_a_network_has_it_whatever_the_converter_calls_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Upsample", ["x", "scales"], ["larger"], mode="linear"),
        helper.make_node("Relu", ["larger"], ["y"]),
    ]
    assert_same(*network(tmp_path, 9, *nodes, scales=np.array([1, 1, 3, 2], np.float32)))


def test_an_index_is_given_as_float_with_a_note(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], "index",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, 4, 5])],
    )  # fmt: skip
    path = tmp_path / "index.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    said: list[str] = []
    imported = load_network(path, name="index", preprocessing=SIZE, report=said.append)
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    (got,) = imported.run(x).values()
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, x.argmax(axis=1))
    assert any("output y" in sentence for sentence in said)


def test_a_single_number_is_a_row_of_one(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)
    model, imported = network(tmp_path, 13, node)
    assert_same(model, imported)
    assert imported.shapes["old/y"] == ()
