"""Inputs beside the frame become constants, and the branches that they decide stand in the graph."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.cli.main import main
from multigraft.converters.conversion.rewrites.control_flow import LARGEST
from multigraft.converters.importing.forms.constant_ways import write_out_constant_ways
from multigraft.converters.importing.importer import load_network, load_task
from multigraft.converters.network.network import session_of
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError, UnsupportedOperatorError
from multigraft.tensors.array_preparation import ArrayPreparation
from tests.converters.importing.network_builder import FLOAT, NetworkBuilder, saved

RATE = 16_000
WIDTH = 24
WINDOW = ArrayPreparation((WIDTH,))


def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, FLOAT, None)])


def voice(condition: str = "rate") -> onnx.ModelProto:
    """As a voice detector: a sampling rate chooses the weights, the length of the window a padding, a state is added.

    Both branches write tensors of the same names, as exporters let them. With ``condition`` "sound" the frame chooses.
    """
    b = NetworkBuilder()
    narrow, wide = b.weight("narrow", WIDTH, 6), b.weight("wide", WIDTH, 6)
    inner = helper.make_node("MatMul", ["sound", wide], ["product"], "wide_product")
    short = branch("short", [helper.make_node("Mul", ["product", "two"], ["scaled"], "twice")], "scaled")
    long = branch("long", [helper.make_node("Identity", ["product"], ["scaled"], "as_it_is")], "scaled")
    b.constant("two", np.float32(2))
    b.constant("length_axis", np.int64(1))
    b.constant("limit", np.int64(100))
    b.add("Shape", ["sound"], "sizes")
    b.add("Gather", ["sizes", "length_axis"], "length")
    b.add("Less", ["length", "limit"], "is_short")
    nested = helper.make_node("If", ["is_short"], ["result"], "by_length", then_branch=short, else_branch=long)
    then = branch("then", [inner, nested], "result")
    other = [helper.make_node("MatMul", ["sound", narrow], ["product"], "narrow_product")]
    other.append(helper.make_node("Relu", ["product"], ["result"], "rectified"))
    if condition == "rate":
        b.add("Equal", ["rate", b.constant("wide_rate", np.int64(RATE))], "is_wide")
    else:
        b.add("ReduceMax", ["sound"], "loudest", keepdims=0)
        b.add("Greater", ["loudest", b.constant("loud", np.float32(0))], "is_wide")
    b.add("If", ["is_wide"], "features", then_branch=then, else_branch=branch("else", other, "result"))
    b.add("Add", ["features", "state"], "next")
    b.add("Sigmoid", ["next"], "voice")
    graph = helper.make_graph(
        b.nodes,
        "voice",
        [
            helper.make_tensor_value_info("sound", FLOAT, ["n", "length"]),
            helper.make_tensor_value_info("rate", TensorProto.INT64, []),
            helper.make_tensor_value_info("state", FLOAT, ["n", 6]),
        ],
        [helper.make_tensor_value_info("voice", FLOAT, None)],
        b.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("rate", [RATE, 8000])
def test_the_branch_that_a_constant_chooses_answers_as_the_file_does(rate: int, tmp_path: Path) -> None:
    path = saved(voice(), tmp_path)
    network = load_network(path, preprocessing=WINDOW, constants={"rate": rate, "state": 0.5})
    assert network.input_shape == (WIDTH,) and not {"If", "Shape"} & {n.op_type for n in network.model.graph.node}
    session = session_of(onnx.load(path), "voice")
    x = np.random.default_rng(3).normal(size=(1, WIDTH)).astype(np.float32)
    state = np.full((1, 6), 0.5, np.float32)
    feeds: dict[str, npt.NDArray[Any]] = {"sound": x, "rate": np.array(rate, np.int64), "state": state}
    (wanted,) = session.run(None, feeds)
    (answer,) = network.run(network.prepare([x[0]])).values()
    np.testing.assert_allclose(answer, wanted, rtol=1e-5, atol=1e-6)


def test_a_branch_that_the_frame_chooses_is_named(tmp_path: Path) -> None:
    path = saved(voice("sound"), tmp_path)
    with pytest.raises(UnsupportedOperatorError, match="is control flow"):
        load_network(path, preprocessing=WINDOW, constants={"state": 0})


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({}, r"3 inputs \(sound, rate, state\); give the value of every one but the frame's as constants"),
        ({"speed": 1}, "has no input 'speed'; its inputs are sound, rate, state"),
        ({"rate": 0.5, "state": 0}, "input rate is int64, which does not hold 0.5"),
        ({"rate": 1, "state": 0, "sound": 0}, "has no input left for the frame"),
    ],
)
def test_what_no_constant_can_be_is_refused(constants: dict[str, float], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        load_network(saved(voice(), tmp_path), preprocessing=WINDOW, constants=constants)


def test_settings_and_check_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(voice(), tmp_path)
    np.save(tmp_path / "frames.npy", np.zeros((3, WIDTH), np.float32))
    (tmp_path / "multigraft.toml").write_text(
        f'frames = "frames.npy"\n[[task]]\nname = "voice"\nmodel = "{path.name}"\nkind = "other"\n'
        f"constants = {{ rate = {RATE}, state = 0 }}\n[task.preprocessing]\nshape = [{WIDTH}]\n"
    )
    (task,) = Settings.read(tmp_path / "multigraft.toml").tasks
    assert load_task(task, tmp_path).input_shape == (WIDTH,)
    given = ["--constant", f"rate={RATE}", "--constant", "state=0"]
    assert main(["check", str(path), "--size", str(WIDTH), "--json", *given]) == 0
    assert json.loads(capsys.readouterr().out)["can_be_built"]
    assert main(["check", str(path), "--constant", "rate"]) == 2
    assert "--constant rate is not understood" in capsys.readouterr().err


def test_a_constant_fills_every_element_in_the_type_of_its_input(tmp_path: Path) -> None:
    model = voice()
    path = saved(model, tmp_path)
    network = load_network(path, preprocessing=WINDOW, constants={"rate": RATE, "state": 2})
    stored = [numpy_helper.to_array(i) for i in network.model.graph.initializer]
    assert any(v.dtype == np.float32 and v.size in (1, 6) and (v == 2).all() for v in stored)


def test_branches_of_many_nodes_are_taken_at_every_depth() -> None:
    deep = helper.make_node("If", ["yes"], ["result"], then_branch=chain(1, "a"), else_branch=chain(2, "b"))
    outer = branch("outer", [*chain(LARGEST + 1, "c").node, deep], "result")
    graph = helper.make_graph(
        [helper.make_node("If", ["yes"], ["answer"], then_branch=outer, else_branch=chain(3, "d"))],
        "deep",
        [helper.make_tensor_value_info("x", FLOAT, [1])],
        [helper.make_tensor_value_info("answer", FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    written = write_out_constant_ways(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert "If" not in {n.op_type for n in written.graph.node}


def chain(length: int, name: str) -> onnx.GraphProto:
    names = ["x", *(f"{name}{i}" for i in range(length))]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)]
    return branch(name, nodes, names[-1])
