"""Forms of graphs whose layout, rank or no-ops onnx2tf mixes up, each through the real one and the whole conversion."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, locate, to_tflite_layout
from multigraft.converters.conversion.interpreters import Runner, available, main_signature
from multigraft.converters.conversion.known_results import without_known_results
from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.conversion.reconnecting import reconnected
from multigraft.converters.conversion.trial import crash_of
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.importer import load_network
from multigraft.converters.network.failing_node import failing_node
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.errors import ConversionError, InputError
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph, Model, Op, Tensor
from tests.converters.conversion.through_converter import random_feeds, served, through_converter
from tests.converters.graph_builder import run
from tests.converters.onnx_builder import OnnxBuilder

SIZE = Preprocessing(4, 6, "rgb", (127.5,) * 3, (1 / 64,) * 3)


def model(
    *nodes: onnx.NodeProto, outputs: list[str], size: tuple[int, int] = (4, 6), **constants: Any
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *size])
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    results = [helper.make_empty_tensor_value_info(n) for n in outputs]
    graph = helper.make_graph(list(nodes), "form", [x], results, stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


CUBES: dict[str, onnx.ModelProto] = {
    "no operator wants it channel-last": model(
        node("Reshape", "x flat", "y"), node("Reshape", "x row", "z"), outputs=["y", "z"], size=(3, 3),
        flat=np.array([1, 27]), row=np.array([9, 3, 1, 1]),
    ),
    "one does, and one does not": model(
        node("MaxPool", "x", "p", kernel_shape=[2, 2]), node("Concat", "x x", "c", axis=0),
        node("Reshape", "p four", "y"), node("Reshape", "c flat", "z"), outputs=["y", "z"], size=(3, 3),
        four=np.array([1, 12]), flat=np.array([1, 54]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CUBES)
def test_an_input_that_is_a_cube_is_kept_channel_first(
    name: str, onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    """Its shape does not tell how it lies, and left to itself onnx2tf takes it both ways within one network."""
    through_converter(CUBES[name], onnx2tf_environment, tmp_path)


def test_a_gather_of_a_batch_passes_the_check() -> None:
    """As onnx2tf writes a GridSample."""
    places = Tensor("places", (2, 3), "int32", data=np.array([[0, 3, 1], [2, 2, 0]], np.int32))
    tensors = [Tensor("x", (2, 4, 5)), places, Tensor("y", (2, 3, 5))]
    op = Op("GATHER", ("x", "places"), ("y",), {"axis": 1, "batch_dims": 1})
    graph = Graph.of("g", ["x"], ["y"], [op], tensors)
    content = tflite_file.write(Model((graph,), (main_signature(graph),)))
    check_tflite(content, "g")
    x = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    wanted = np.stack([x[0, [0, 3, 1]], x[1, [2, 2, 0]]])
    np.testing.assert_array_equal(Runner(content)({"x": x})["y"], wanted)
    other = dataclasses.replace(graph, tensors={**graph.tensors, "places": dataclasses.replace(places, shape=(3, 2))})
    with pytest.raises(InputError, match="GATHER cannot work"):
        check_tflite(tflite_file.write(Model((other,), (main_signature(other),))), "g")


def test_the_operator_is_named_on_which_an_interpreter_stops() -> None:
    shape = Tensor("shape", (2,), "int32", data=np.array([3, -1], np.int32))
    tensors = [Tensor("x", (1, 4)), Tensor("a", (1, 4)), shape, Tensor("net/y", (3, 1))]
    ops = [Op("ABS", ("x",), ("a",)), Op("RESHAPE", ("a", "shape"), ("net/y",))]
    graph = Graph.of("g", ["x"], ["net/y"], ops, tensors)
    runner = Runner(tflite_file.write(Model((graph,), (main_signature(graph),))), delegates=False)
    with pytest.raises(ConversionError, match="It writes 'net/y'"):
        runner({"x": np.ones((1, 4), np.float32)})


def test_the_operator_is_named_on_which_the_converter_stops() -> None:
    b = OnnxBuilder(1)
    x = b.conv("first", b.input("x", 3, 8, 6), 4)
    network = b.model(b.classifier("classes", b.add("Relu", "active", b.add("Sigmoid", "squashed", x)), 5))
    for kind in ("Conv", "Relu", "Sigmoid"):
        found = failing_node(network, lambda part, kind=kind: any(n.op_type == kind for n in part.graph.node))  # type: ignore[misc]
        assert found is not None
        assert found.op_type == kind


MATRIX = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
FORMS: dict[str, onnx.ModelProto] = {
    "rows of another number than the batch": model(
        node("Reshape", "x shape", "y"), outputs=["y"], shape=np.array([4, 18])
    ),
    "a product that keeps channels first": model(node("MatMul", "x matrix", "y"), outputs=["y"], matrix=MATRIX),
    "a constant of lower rank": model(node("Sub", "x row", "y"), outputs=["y"], row=MATRIX[:, 0]),
    "nothing changed before an output": model(
        node("Reshape", "x shape", "t"), node("Pow", "t one", "y"), node("Relu", "t", "z"),
        outputs=["y", "z"], shape=np.array([1, 12, 6]), one=np.float32(1),
    ),
    "the input as an output": model(
        node("Identity", "x", "y"), node("ArgMax", "x", "i", axis=1), node("Cast", "i", "z", to=1), outputs=["y", "z"]
    ),
    "an index of a row": model(
        node("Reshape", "x shape", "t"), node("ArgMax", "t", "y", axis=0, keepdims=0), outputs=["y"],
        shape=np.array([72]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_the_bundle_answers_as_the_original(name: str, onnx2tf_environment: Environment, tmp_path: Path) -> None:
    path = tmp_path / "form.onnx"
    onnx.save(FORMS[name], path)
    network = load_network(path, preprocessing=SIZE)
    made = convert(
        assemble([network], SharingPlan({}, 0, 0)), {}, precision="float32", name="form", work_dir=tmp_path,
        verified_inputs=2, checkpoints=served(onnx2tf_environment),
    )  # fmt: skip
    frames = [np.random.default_rng(n).integers(0, 256, (4, 6, 3), np.uint8) for n in range(2)]
    found = BundleRunner(made.bundle).outputs("form", frames)
    for number in range(len(frames)):
        wanted = network.run(network.prepare(frames[number : number + 1]))
        for value, output in zip(found, network.outputs, strict=True):
            expected = wanted[output]
            got = value.reshape(len(frames), -1, *value.shape[1:])[number]
            if expected.ndim == 4:
                expected = expected.transpose(0, 2, 3, 1)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_readers_of_a_tensor_that_nothing_writes_read_the_output_of_its_shape() -> None:
    tensors = [Tensor(n, (1, 4)) for n in ("x", "y", "lost", "z")]
    ops = [Op("ABS", ("x",), ("y",)), Op("NEG", ("lost",), ("z",))]
    graph = reconnected(Graph.of("g", ["x"], ["y", "z"], ops, tensors))
    assert graph.ops[1].inputs == ("y",)


def test_a_model_that_an_interpreter_runs_does_not_crash_it() -> None:
    graph = Graph.of("g", ["x"], ["y"], [Op("ABS", ("x",), ("y",))], [Tensor("x", (1, 4)), Tensor("y", (1, 4))])
    content = tflite_file.write(Model((graph,), (main_signature(graph),)))
    assert [crash_of(content, backend) for backend in available()] == [""] * len(available())


def test_a_crash_of_an_interpreter_is_named() -> None:
    shape, kind = (1, 2, 2, 2, 2), "int32"
    tensors = [Tensor("x", shape, kind), Tensor("c", (1, 1, 1, 1, 2), kind, data=np.ones((1, 1, 1, 1, 2), np.int32))]
    graph = Graph.of("g", ["x"], ["y"], [Op("MUL", ("x", "c"), ("y",))], [*tensors, Tensor("y", shape, kind)])
    content = tflite_file.write(Model((graph,), (main_signature(graph),)))
    ends = {"ai-edge-litert": "", "tflite-runtime": "SIGABRT"}
    assert {b: crash_of(content, b) for b in available()} == {b: ends[b] for b in available()}


def test_without_changes_of_layout_the_same_is_computed(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(1)
    x = b.conv("first", b.input("x", 3, 8, 6), 4)
    network = b.model(b.classifier("classes", b.add("Relu", "active", x), 5))
    feeds = random_feeds(network, 2)
    converted = to_tflite(network, onnx2tf_environment, tmp_path, is_plain=True)
    floating = locate(converted, network, [], ["classes"], feeds)
    values = run(floating.graph, to_tflite_layout(feeds[0], floating.layouts))
    wanted = OnnxRunner(network, ["classes"])(feeds[0])["classes"]
    np.testing.assert_allclose(values[floating.boundaries["classes"]], wanted, rtol=1e-4, atol=1e-5)


def test_a_shape_that_is_known_is_not_computed() -> None:
    shape = Tensor("shape", (2,), "int32", data=np.array([4, 1], np.int32))
    places = Tensor("places", (2,), "int32", data=np.array([1, 0], np.int32))
    tensors = [Tensor("x", (1, 4)), Tensor("sizes", (2,), "int32"), places, shape, Tensor("y", (4, 1))]
    ops = [
        Op("SHAPE", ("x",), ("sizes",)),
        Op("GATHER", ("sizes", "places"), ("shape",)),
        Op("RESHAPE", ("x", "shape"), ("y",)),
    ]
    graph = without_known_results(Graph.of("g", ["x"], ["y"], ops, tensors))
    assert [op.name for op in graph.ops] == ["RESHAPE"]
    content = tflite_file.write(Model((graph,), (main_signature(graph),)))
    check_tflite(content, "g")
    np.testing.assert_array_equal(Runner(content)({"x": np.ones((1, 4), np.float32)})["y"], np.ones((4, 1)))


def test_a_single_number_within_a_network_is_a_row_of_one(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    """As a clip below the loudest of a spectrum: the file passes the check of bundles."""
    b = OnnxBuilder(3)
    x = b.conv("conv", b.input("x", 3, 8, 8), 4)
    b.constant("floor", np.array(0.5, np.float32))
    loudest = b.add("ReduceMax", "loudest", x, keepdims=0, channels=1)
    model = b.model(b.add("Max", "clipped", x, b.add("Sub", "lowest", loudest, "floor")))
    graph = through_converter(model, onnx2tf_environment, tmp_path)
    check_tflite(tflite_file.write(Model((graph,), (main_signature(graph),))), "g")
