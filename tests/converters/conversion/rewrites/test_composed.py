"""Operators that TFLite lacks, said in those it has: against onnxruntime, and some through the real converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, relative_error
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.conversion.rewrite import rewrite
from tests.converters.conversion.rewrites.rewritten import assert_same, node_model, operators
from tests.converters.conversion.through_converter import through_converter

RNG = np.random.default_rng(4)


def values(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_grids_sample_as_onnxruntime_does(padding: str, aligned: int, mode: str) -> None:
    grid = RNG.uniform(-2.2, 2.2, (2, 3, 4, 2)).astype(np.float32)
    given: dict[str, Any] = {"padding_mode": padding, "align_corners": aligned, "mode": mode}
    new = assert_same(node_model("GridSample", [2, 3, 5, 4], [grid], **given))
    assert ("GridSample" in operators(new)) == (mode != "cubic" and padding != "reflection")


def test_a_grid_that_the_network_makes() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 3, 4])
    node = helper.make_node("GridSample", ["image", "x"], ["y"], mode="cubic", padding_mode="reflection")
    stored = numpy_helper.from_array(values(1, 2, 5, 6), "image")
    model = helper.make_model(helper.make_graph([node], "g", [x], [y], [stored]), ir_version=10)
    model.opset_import[0].version = 20
    assert "GridSample" not in operators(assert_same(model))


def test_groups_of_offsets_are_added() -> None:
    constants = [values(3, 4, 2, 2), values(1, 16, 4, 4), values(3), values(1, 8, 4, 4)]
    new = assert_same(node_model("DeformConv", [1, 4, 5, 5], constants, opset=22, offset_group=2, kernel_shape=[2, 2]))
    assert all(a.name != "offset_group" for n in new.graph.node for a in n.attribute)


def test_batch_norms_in_training_mode_take_their_statistics_from_the_batch() -> None:
    constants = [values(3), values(3), values(3), np.abs(values(3))]
    names = ("y", "mean", "variance")
    new = assert_same(node_model("BatchNormalization", [4, 3, 5], constants, names, training_mode=1, momentum=0.7))
    assert "BatchNormalization" not in operators(new)


@pytest.mark.parametrize("kind", ["Max", "Clip"])
def test_a_tiny_bound_before_a_division_is_no_zero(kind: str, onnx2tf_environment: Environment, tmp_path: Path) -> None:
    norm = helper.make_node("ReduceL2", ["x", "axes"], ["norm"], keepdims=1)
    floor = helper.make_node(kind, ["norm", "least"], ["floor"])
    divide = helper.make_node("Div", ["ones", "floor"], ["y"])
    stored = {"axes": np.array([1]), "least": np.array(1e-12, np.float32), "ones": np.ones((2, 1), np.float32)}
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [2, 4]), ("y", [2, 1])))
    constants = [numpy_helper.from_array(v, k) for k, v in stored.items()]
    graph = helper.make_graph([norm, floor, divide], "g", [x], [y], constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    new = assert_same(model, np.zeros((2, 4), np.float32))
    assert kind not in operators(new)
    through_converter(model, onnx2tf_environment, tmp_path)


def body(*nodes: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", inputs, outputs)


def scan(directions: list[int], axis: int) -> onnx.ModelProto:
    state, element = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("s", "e"))
    new, shown = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("n", "o"))
    add, double = helper.make_node("Add", ["s", "e"], ["n"]), helper.make_node("Mul", ["n", "outer"], ["o"])
    step = body(add, double, inputs=[state, element], outputs=[new, shown])
    node = helper.make_node(
        "Scan",
        ["start", "x"],
        ["last", "all"],
        body=step,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=directions,
        scan_output_directions=directions,
        scan_output_axes=[1],
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2] if axis == 0 else [2, 3])
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("last", "all")]
    constants = {"start": values(2), "outer": np.array([2, -1], np.float32)}
    stored = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph([node], "g", [x], results, stored)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize("directions", [[0], [1]])
@pytest.mark.parametrize("axis", [0, 1])
def test_scans_are_written_out(directions: list[int], axis: int) -> None:
    assert "Scan" not in operators(assert_same(scan(directions, axis)))


@pytest.mark.parametrize("direction", [0, 1])
def test_scans_of_the_first_form_are_written_out_for_one_frame(direction: int) -> None:
    s, e, n, o = (helper.make_tensor_value_info(k, TensorProto.FLOAT, [2]) for k in "seno")
    nodes = (helper.make_node("Add", ["s", "e"], ["n"]), helper.make_node("Identity", ["n"], ["o"]))
    step = body(*nodes, inputs=[s, e], outputs=[n, o])
    node = helper.make_node(
        "Scan", ["", "start", "x"], ["last", "all"], body=step, num_scan_inputs=1, directions=[direction]
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2])
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("last", "all")]
    graph = helper.make_graph([node], "g", [x], results, [numpy_helper.from_array(values(1, 2), "start")])
    model = helper.make_model(graph, ir_version=4, opset_imports=[helper.make_opsetid("", 8)])
    assert "Scan" not in operators(assert_same(model))


def test_loops_of_a_constant_number_of_steps_are_written_out() -> None:
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    on, still = (helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("on", "still"))
    s, n, o = (helper.make_tensor_value_info(k, TensorProto.FLOAT, [2]) for k in ("s", "n", "o"))
    cast = helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT)
    nodes = (
        helper.make_node("Identity", ["on"], ["still"]),
        cast,
        helper.make_node("Add", ["s", "f"], ["n"]),
        helper.make_node("Mul", ["n", "n"], ["o"]),
    )
    step = body(*nodes, inputs=[number, on, s], outputs=[still, n, o])
    node = helper.make_node("Loop", ["count", "", "x"], ["last", "all"], body=step)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    results = [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in ("last", "all")]
    stored = [numpy_helper.from_array(np.array(4), "count")]
    graph = helper.make_graph([node], "g", [x], results, stored)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    assert "Loop" not in operators(assert_same(model))


@pytest.mark.parametrize("way", [True, False])
def test_a_constant_condition_leaves_one_branch(way: bool) -> None:
    branches = {}
    for name, kind in (("then_branch", "Neg"), ("else_branch", "Abs")):
        out = helper.make_tensor_value_info("r", TensorProto.FLOAT, [3])
        branches[name] = body(helper.make_node(kind, ["x"], ["r"]), inputs=[], outputs=[out])
    node = helper.make_node("If", ["way"], ["y"], **branches)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in ("x", "y"))
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(np.array(way), "way")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    assert operators(assert_same(model)) == {"Neg" if way else "Abs"}


def test_rows_that_are_masked_as_a_whole_give_zero(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    mask = np.array([[False, False, False], [True, False, True]])
    constants = [values(1, 2, 3, 8), values(1, 2, 3, 8), mask]
    model = node_model("Attention", [1, 2, 2, 8], constants, opset=23)
    new = rewrite(model)
    assert all(np.isfinite(numpy_helper.to_array(i)).all() for i in new.graph.initializer)
    y = OnnxRunner(new, ["y"])({"x": values(1, 2, 2, 8)})["y"]
    np.testing.assert_array_equal(y[:, :, 0], 0)
    through_converter(model, onnx2tf_environment, tmp_path)


def test_errors_count_infinities_that_differ() -> None:
    a = np.array([1, np.inf, np.nan, -np.inf])
    assert relative_error(a, a) == 0
    assert relative_error(a, np.array([1, 3, np.nan, -np.inf])) == np.inf
    assert relative_error(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == np.inf
