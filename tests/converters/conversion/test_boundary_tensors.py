"""Finding ONNX tensors in a converted model whose names, layouts and outputs are not to be trusted."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from multigraft.converters.conversion.boundary_tensors import FloatModel, locate, to_tflite_layout, with_outputs
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.conversion.tensor_names import name_as_in_onnx
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph, Model, Signature
from tests.converters.graph_builder import GraphBuilder, run
from tests.converters.onnx_builder import OnnxBuilder

NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
CUT, MAP, CLASSES = "trunk", "map", "classes"


def network() -> onnx.ModelProto:
    """Two convolutions (``trunk``, ``map``) and a classifier (``classes``) on the first."""
    b = OnnxBuilder(3)
    trunk = b.conv_relu(CUT, b.input("image", 3, 8, 6), 4)
    b.conv(MAP, trunk, 2)
    b.classifier(CLASSES, trunk, 5)
    return b.model(CUT, MAP, CLASSES)


def converted(model: onnx.ModelProto) -> GraphBuilder:
    """What a converter would make of it, under names of its own."""
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    b = GraphBuilder()
    x = b.input("input_1", 1, 8, 6, 3)

    def conv(name: str, source: str, weights: str, activation: str = "NONE") -> str:
        y = b.conv(name, source, values[f"{weights}.weight"].shape[0], activation=activation)
        b.constant(f"{name}/weights", values[f"{weights}.weight"].transpose(NHWC))
        b.constant(f"{name}/bias", values[f"{weights}.bias"])
        return y

    trunk = conv("t1", x, f"{CUT}.conv", "RELU")
    conv("t2", trunk, MAP)
    b.dense("t4", b.mean("t3", trunk), 5)
    b.constant("t4/weights", values[f"{CLASSES}.weight"])
    b.constant("t4/bias", values[f"{CLASSES}.bias"])
    return b


def as_model(graph: Graph, outputs: dict[str, str]) -> Model:
    return Model((graph,), (Signature("serving_default", {"image": "input_1"}, outputs),))


def inputs() -> list[Arrays]:
    rng = np.random.default_rng(0)
    return [{"image": rng.standard_normal((1, 3, 8, 6), np.float32)} for _ in range(2)]


def find(graph: Graph, outputs: dict[str, str]) -> FloatModel:
    return locate(as_model(graph, outputs), network(), [CUT], [MAP, CLASSES], inputs())


def assert_right(found: FloatModel) -> None:
    """Every boundary has the ONNX value, and the graph's outputs are the tasks'."""
    assert (found.graph.inputs, found.graph.outputs) == (("image",), (MAP, CLASSES))
    from multigraft.converters.conversion.boundary_tensors import OnnxRunner

    names = (CUT, MAP, CLASSES)
    runner = OnnxRunner(network(), names)
    for feed in inputs():
        truth = to_tflite_layout(runner(feed), found.layouts)
        graph = dataclasses.replace(found.graph, outputs=tuple(found.boundaries[n] for n in names))
        values = run(graph, to_tflite_layout(feed, found.layouts))
        for name in names:
            np.testing.assert_allclose(values[found.boundaries[name]], truth[name], rtol=1e-4, atol=1e-5)


def test_plain_outputs() -> None:
    b = converted(network())
    found = find(b.graph("t1", "t2", "t4"), {CUT: "t1", MAP: "t2", CLASSES: "t4"})
    assert_right(found)
    assert found.boundaries == {CUT: CUT, MAP: MAP, CLASSES: CLASSES}
    assert found.layouts == {"image": NHWC, CUT: NHWC, MAP: NHWC, CLASSES: (0, 1)}


def test_outputs_turned_channel_first_lose_their_transpose() -> None:
    b = converted(network())
    b.transpose("o1", "t1", *NCHW)
    b.transpose("o2", "t2", *NCHW)
    found = find(b.graph("o1", "o2", "t4"), {CUT: "o1", MAP: "o2", CLASSES: "t4"})
    assert_right(found)
    assert "TRANSPOSE" not in found.graph.operator_counts()
    assert found.layouts[MAP] == NHWC


def test_a_map_that_is_channel_first_by_itself_gets_a_transpose() -> None:
    b = converted(network())
    b.transpose("o2", "t2", *NCHW)
    two = b.constant("two", 2.0)
    b.op("MUL", "half", ["o2", two], (1, 2, 8, 6), fused_activation_function="NONE")
    b.op("SELECT_V2", "o3", [b.constant("yes", True, "bool"), "o2", "half"], (1, 2, 8, 6))
    found = find(b.graph("t1", "o3", "t4"), {CUT: "t1", MAP: "o3", CLASSES: "t4"})
    assert_right(found)
    assert found.layouts[MAP] == NHWC and found.graph.tensors[MAP].shape == (1, 8, 6, 2)


def test_a_dangling_output_is_found_by_value() -> None:
    """onnx2tf 2.6.9 may leave a cut without a producer and go on from a copy under another name."""
    b = converted(network())
    b.input(CUT, 1, 4, 8, 6)
    b.inputs.remove(CUT)
    found = find(b.graph(CUT, "t2", "t4"), {CUT: CUT, MAP: "t2", CLASSES: "t4"})
    assert_right(found)


def test_swapped_names_are_seen_through() -> None:
    b = converted(network())
    found = find(b.graph("t1", "t2", "t4"), {CUT: "t2", MAP: "t1", CLASSES: "t4"})
    assert_right(found)


def test_a_boundary_that_was_fused_away_is_named() -> None:
    b = converted(network())
    weights = b.tensors["t1/weights"].data
    assert weights is not None
    b.constant("t1/weights", weights * 1.5)
    with pytest.raises(ConversionError, match="'trunk' is not to be found"):
        find(b.graph("t2", "t4"), {MAP: "t2", CLASSES: "t4"})


def test_a_cut_that_the_onnx_graph_lacks_is_named() -> None:
    with pytest.raises(ConversionError, match="'nowhere'"):
        with_outputs(network(), ["nowhere"])


def test_tensors_get_the_names_of_the_onnx_tensors_they_equal() -> None:
    b = converted(network())
    found = find(b.graph("t1", "t2", "t4"), {CUT: "t1", MAP: "t2", CLASSES: "t4"})
    named = name_as_in_onnx(found, network(), inputs()[0])
    assert_right(named)
    assert {op.outputs[0] for op in named.graph.ops} == {CUT, MAP, f"{CLASSES}.flat", CLASSES}
    assert {"trunk/weights", "trunk/bias", "map/weights", "classes/weights"} <= set(named.graph.tensors)
