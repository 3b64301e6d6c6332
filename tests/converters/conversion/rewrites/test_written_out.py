"""Operators with constant places, sizes or equations, said in gathers, matrices and sums that every converter has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.converters.conversion.rewrites.rewritten import assert_same, node_model, operators

RNG = np.random.default_rng(3)


def floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


PLACES = np.array([[[0, -1, 2]], [[1, 0, 3]]])
BOXES = np.array([[0, 0, 3, 2], [1, 1, 5, 4]], np.float32)
GRID = RNG.uniform(-1.2, 1.2, (1, 3, 2, 2)).astype(np.float32)
GONE: dict[str, tuple[str, onnx.ModelProto]] = {
    "elements": ("ScatterElements", node_model("ScatterElements", [2, 4, 3], [PLACES, floats(2, 1, 3)], axis=1)),
    "elements added twice": (
        "ScatterElements",
        node_model("ScatterElements", [5], [np.array([1, 1, -2]), floats(3)], axis=0, reduction="add"),
    ),
    "largest": (
        "ScatterND", node_model("ScatterND", [3, 4], [np.array([[0], [2], [0]]), floats(3, 4)], reduction="max")
    ),
    "rows": ("ScatterND", node_model("ScatterND", [3, 4], [np.array([[-1, 2], [0, 0]]), floats(2)])),
    "gathered elements": ("GatherElements", node_model("GatherElements", [2, 4, 3], [PLACES], axis=1)),
    "gathered rows": ("GatherND", node_model("GatherND", [2, 4, 3], [np.array([[1, -1], [0, 2]])])),
    "sequences": (
        "ReverseSequence", node_model("ReverseSequence", [4, 3, 2], [np.array([1, 4, 2])], batch_axis=1, time_axis=0)
    ),
    "equal sequences": (
        "ReverseSequence", node_model("ReverseSequence", [2, 4, 3], [np.array([3, 3])], batch_axis=0, time_axis=1)
    ),
    "product": ("Einsum", node_model("Einsum", [2, 3, 4], [floats(2, 4, 5)], equation="bij, bjk -> kbi")),
    "sums": ("Einsum", node_model("Einsum", [2, 3, 4], [floats(4, 5)], equation="abc,cd->d")),
    "any rank": ("Einsum", node_model("Einsum", [2, 3, 4], [floats(4, 5)], equation="...c,cd->...d")),
    "turned": ("Einsum", node_model("Einsum", [2, 3, 4], equation="abc->ca")),
    "implicit": ("Einsum", node_model("Einsum", [3, 4], [floats(4, 2)], equation="ij,jk")),
    **{f"determinant {n}": ("Det", node_model("Det", [2, n, n])) for n in (1, 2, 3, 4)},
    "regions": (
        "RoiAlign",
        node_model("RoiAlign", [1, 2, 5, 6], [BOXES, np.array([0, 0])], output_height=2, output_width=3),
    ),
    "cubic grid": ("GridSample", node_model("GridSample", [1, 2, 4, 5], [GRID], mode="cubic", padding_mode="border")),
    "columns": ("Col2Im", node_model("Col2Im", [1, 8, 12], [np.array([4, 5]), np.array([2, 2])])),
    "deformed": (
        "DeformConv",
        node_model(
            "DeformConv", [1, 2, 4, 4], [floats(3, 2, 2, 2), floats(1, 8, 3, 3), floats(3), floats(1, 4, 3, 3)]
        ),
    ),
    "transform": ("DFT", node_model("DFT", [2, 6, 1], [None, np.array(1)])),
    "half": ("DFT", node_model("DFT", [3, 5, 2, 1], [None, np.array(-3)], onesided=1)),
    "longer": ("DFT", node_model("DFT", [2, 6, 2], [np.array(8), np.array(1)])),
    "inverse": ("DFT", node_model("DFT", [2, 6, 2], [np.array(4), np.array(1)], inverse=1)),
    "real": ("DFT", node_model("DFT", [2, 4, 2], [None, np.array(1)], inverse=1, onesided=1)),
    "frames": ("STFT", node_model("STFT", [2, 12, 1], [np.array(3), floats(5)], onesided=1)),
    "slope": ("PRelu", node_model("PRelu", [1, 3, 4, 5], [floats(5)])),
    "higher": ("Expand", node_model("Expand", [2, 1], [np.array([3, 1, 4])])),
    "no difference": ("Pow", node_model("Pow", [2, 3], [np.float32(1)])),
    "whole": ("Slice", node_model("Slice", [2, 3], [np.array([0]), np.array([99]), np.array([1])])),
    "block of one": ("DepthToSpace", node_model("DepthToSpace", [1, 3, 2, 2], blocksize=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", GONE)
def test_an_operator_is_said_in_others(name: str) -> None:
    kind, model = GONE[name]
    assert kind not in operators(assert_same(model))


PADS: dict[str, dict[str, Any]] = {
    "edge": {"mode": "edge"}, "wrap": {"mode": "wrap"}, "cut and edge": {"mode": "edge"}, "cut": {},
}  # fmt: skip


@pytest.mark.parametrize("name", PADS)
def test_a_pad_takes_away_or_repeats(name: str) -> None:
    amounts = [0, 1, 0, 2, 0, 2, 0, 1] if name in ("edge", "wrap") else [0, 1, -1, 2, 0, 0, -1, -1]
    new = assert_same(node_model("Pad", [1, 3, 4, 5], [np.array(amounts)], **PADS[name]))
    left = [helper.get_attribute_value(a) for n in new.graph.node if n.op_type == "Pad" for a in n.attribute]
    assert left == []


def test_what_is_cut_to_nothing_and_padded_is_padding_alone() -> None:
    new = assert_same(node_model("Pad", [1, 2, 3, 4], [np.array([0, -3, 0, 0, 0, 3, 0, 0]), np.float32(-3)]))
    assert operators(new) == {"Identity"}


@pytest.mark.parametrize(("shape", "matrix"), [([1, 1, 2, 2, 3, 4], [4, 2]), ([1, 1, 2, 2, 3, 4], [1, 1, 2, 2, 4, 1])])
def test_further_dimensions_of_a_batch_are_joined(shape: list[int], matrix: list[int]) -> None:
    new = assert_same(node_model("MatMul", shape, [floats(*matrix)]))
    (product,) = (n for n in new.graph.node if n.op_type == "MatMul")
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in new.graph.value_info}
    assert ranks[product.output[0]] <= 3


def test_a_pad_of_some_axes_names_all() -> None:
    new = assert_same(node_model("Pad", [1, 3, 4], [np.array([1, 2]), np.float32(3), np.array([-1])]))
    (pad,) = new.graph.node
    assert len(pad.input) == 3


TRANSPOSED: dict[str, tuple[list[int], list[int], dict[str, Any]]] = {
    "more behind": ([1, 2, 3, 4], [2, 3, 3, 3], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "groups": ([1, 4, 3, 3], [4, 2, 2, 2], {"strides": [2, 2], "group": 2}),
    "many groups": ([1, 6, 3, 3], [6, 1, 3, 3], {"strides": [2, 1], "group": 6, "pads": [0, 1, 1, 0]}),
    "dilated": ([1, 2, 4, 3], [2, 3, 2, 3], {"dilations": [2, 3], "strides": [1, 2]}),
    "a row": ([1, 2, 5], [2, 3, 4], {"strides": [3], "pads": [1, 2]}),
    "volume": ([1, 2, 2, 3, 2], [2, 2, 2, 2, 3], {"strides": [2, 1, 2]}),
    "given size": ([1, 2, 3, 3], [2, 2, 3, 3], {"strides": [2, 2], "output_shape": [6, 6], "auto_pad": "SAME_UPPER"}),
    "wide stride": ([1, 2, 3, 3], [2, 2, 2, 2], {"strides": [3, 3], "output_padding": [2, 1]}),
}


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_is_cut_out_of_the_whole(name: str, with_bias: bool) -> None:
    shape, weight, given = TRANSPOSED[name]
    constants = [floats(*weight), floats(weight[1] * given.get("group", 1))] if with_bias else [floats(*weight)]
    new = assert_same(node_model("ConvTranspose", shape, constants, **given))
    for node in new.graph.node:
        if node.op_type == "ConvTranspose":
            kept = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            assert not any(kept.get("pads", ())) and not {"group", "dilations", "output_padding"} & set(kept)


def test_a_constant_of_lower_rank_gets_the_rank_of_the_tensor() -> None:
    new = assert_same(node_model("Sub", [1, 3, 3, 5], [floats(3, 5)]))
    assert [tuple(i.dims) for i in new.graph.initializer] == [(1, 1, 3, 5)]


def chain(*nodes: onnx.NodeProto, shape: list[int], outputs: dict[str, int]) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    graph = helper.make_graph(list(nodes), "chain", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
def test_the_last_of_equal_values_is_chosen(kind: str) -> None:
    node = helper.make_node(kind, ["x"], ["y"], axis=1, keepdims=0, select_last_index=1)
    new = assert_same(chain(node, shape=[2, 4, 3], outputs={"y": 7}), RNG.integers(0, 2, (2, 4, 3)).astype(np.float32))
    assert all(a.name != "select_last_index" for n in new.graph.node for a in n.attribute)


def test_places_of_maxima_that_nobody_reads_are_not_given() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    (node,) = assert_same(chain(pool, shape=[1, 2, 4, 4], outputs={"y": 1})).graph.node
    assert len(node.output) == 1


def test_places_of_maxima_are_computed() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    new = assert_same(chain(pool, shape=[1, 2, 5, 4], outputs={"y": 1, "places": 7}))
    assert all(len(n.output) == 1 for n in new.graph.node if n.op_type == "MaxPool")


def test_unpooling_puts_each_maximum_where_it_came_from() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2], strides=[2, 2])
    back = helper.make_node("MaxUnpool", ["y", "places"], ["z"], kernel_shape=[2, 2], strides=[2, 2])
    x = RNG.integers(0, 3, (1, 2, 4, 6)).astype(np.float32)
    new = assert_same(chain(pool, back, shape=[1, 2, 4, 6], outputs={"z": 1}), x)
    assert "MaxUnpool" not in operators(new)
