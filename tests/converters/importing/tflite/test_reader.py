"""Whole .tflite files: what is made of their weights and branches, and what is refused, each in one sentence."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from multigraft.converters.conversion.interpreters import Runner, main_signature
from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.tflite.loading import load
from multigraft.converters.importing.tflite.reader import read_tflite
from multigraft.converters.importing.tflite.standing import is_quantised
from multigraft.converters.network.network import session_of
from multigraft.errors import InputError, MultigraftError, UnsupportedOperatorError
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Tensor
from tests.attack.test_tflite_mutants import packed
from tests.attack.tflite_seeds import sparse, sparse_values
from tests.converters.importing.tflite.graphs import Sketch, as_file

IMAGE = (1, 9, 7, 3)
PIXELS = np.random.default_rng(3).normal(size=IMAGE).astype(np.float32)
PLAIN = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}


def answer(path: Path, pixels: np.ndarray = PIXELS) -> np.ndarray:  # type: ignore[type-arg]
    """What the network of a file answers, channels last."""
    model = read_tflite(path)
    name = model.graph.input[0].name
    found: np.ndarray = session_of(model, "it").run(None, {name: pixels.transpose(0, 3, 1, 2)})[0]  # type: ignore[type-arg]
    return found.transpose(0, 2, 3, 1) if found.ndim == 4 else found


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "network.tflite"
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(MultigraftError) as caught:
        read_tflite(path)
    assert caught.value.remedy
    return str(caught.value)


def test_weights_in_8_bits_are_taken_as_they_are_and_said(tmp_path: Path) -> None:
    s = Sketch()
    x, weights = s.input(*IMAGE), s.quantised_weights(4, 3, 3, 3)
    y = s.op("CONV_2D", (x, weights, s.weights(4)), (1, 9, 7, 4), version=5, **PLAIN)
    path = saved(tmp_path, s.file(y))
    stored = next(t for t in s.tensors if t.name == weights)
    assert stored.data is not None and stored.quant is not None
    real = stored.data.astype(np.float32) * np.float32(stored.quant.scales[0])
    floating = [Tensor(t.name, t.shape, "float32", None, real) if t.name == weights else t for t in s.tensors]
    expected = Runner(as_file(Graph.of("main", s.inputs, [y], s.ops, floating)))({x: PIXELS})[y]
    notes: list[str] = []
    read_tflite(path, notes.append)
    assert notes == ["note: network.tflite has weights in 8 bits; they are taken as float32, rounded as they are"]
    assert np.allclose(answer(path), expected, atol=1e-5)


def test_sparse_weights_are_written_out(tmp_path: Path) -> None:
    path = saved(tmp_path, sparse())
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    model = read_tflite(path)
    (found,) = session_of(model, "it").run(None, {model.graph.input[0].name: x})
    expected = x @ sparse_values().reshape(8, 5).T.astype(np.float32) + 1
    assert np.allclose(found.transpose(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_both_branches_of_an_if_are_computed_and_one_is_taken(sign: int, tmp_path: Path) -> None:
    branches = [
        Graph.of(kind, ["b"], ["c"], [Op(kind, ("b",), ("c",))], [Tensor("b", (1, 4)), Tensor("c", (1, 4))])
        for kind in ("EXP", "NEG")
    ]
    s = Sketch()
    x = s.input(*IMAGE)
    mean = s.op("MEAN", (s.conv(x, 4), s.numbers(1, 2)), (1, 4), keep_dims=False)
    total = s.op("SUM", (s.op("MUL", (x, s.numbers(1.0, dtype="float32")), IMAGE), s.numbers(1, 2, 3)), (1,))
    positive = s.op("GREATER", (total, s.numbers([0.0], dtype="float32")), (1,), "bool")
    y = s.op("IF", (positive, mean), (1, 4), then_subgraph_index=1, else_subgraph_index=2)
    graph = s.graph(y)
    content = tflite_file.write(Model((graph, *branches), (main_signature(graph),)))
    pixels = np.abs(PIXELS) * np.float32(sign)
    expected = Runner(content)({x: pixels})[y]
    assert (expected > 0).all() == (sign > 0)
    assert np.allclose(answer(saved(tmp_path, content), pixels), expected, atol=1e-5)


def test_a_known_custom_operator_is_a_builtin_one(tmp_path: Path) -> None:
    s = Sketch()
    x = s.input(*IMAGE)
    weights, bias = s.weights(2, 2, 2, 3), s.weights(2)
    builtin = s.op(
        "TRANSPOSE_CONV", (s.numbers(1, 18, 14, 2), weights, x, bias), (1, 18, 14, 2), version=3,
        padding="SAME", stride_h=2, stride_w=2,
    )  # fmt: skip
    expected = Runner(s.file(builtin))({x: PIXELS})[builtin]
    options = struct.pack("<iii", 1, 2, 2)
    custom = Op(
        "CUSTOM", (x, weights, bias), (builtin,), custom_code="Convolution2DTransposeBias", custom_options=options
    )
    content = as_file(dataclasses.replace(s.graph(builtin), ops=(custom,)))
    assert np.allclose(answer(saved(tmp_path, content)), expected, atol=1e-5)


def test_a_file_becomes_a_network_with_cut_points_that_runs_on_batches(tmp_path: Path) -> None:
    s = Sketch()
    x = s.conv(s.input(*IMAGE), 4, fused_activation_function="RELU")
    x = s.conv(s.op("ADD", (x, s.conv(x, 4)), (1, 9, 7, 4), fused_activation_function="RELU6"), 8, stride=2)
    flat = s.op("RESHAPE", (x, s.numbers(1, 160)), (1, 160))
    y = s.op("FULLY_CONNECTED", (flat, s.weights(5, 160), s.weights(5)), (1, 5))
    network = load_network(saved(tmp_path, s.file(y)), name="task")
    assert network.input_shape == (3, 9, 7)
    assert {n.op_type for n in network.nodes} >= {"Conv", "Gemm"} and network.is_batched
    assert [p.shape for p in network.cut_points] == [(4, 9, 7), (4, 9, 7), (160,)]


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    s = Sketch()
    x = s.conv(s.input(*IMAGE), 4)
    unknown = s.op("FAKE_QUANT", (x,), (1, 9, 7, 4))
    assert f"FAKE_QUANT {unknown!r} cannot be converted to ONNX" in refusal(saved(tmp_path, s.file(unknown)))
    s = Sketch()
    x = s.conv(s.input(*IMAGE), 4, fused_activation_function="TANH")
    assert "has the fused activation TANH, which the interpreters do not compute" in refusal(saved(tmp_path, s.file(x)))
    s = Sketch()
    x = s.input(*IMAGE)
    y = s.tensor(IMAGE)
    s.ops.append(Op("CUSTOM", (x,), (y,), custom_code="Elsewhere"))
    assert f"Elsewhere {y!r} is a custom operator" in refusal(saved(tmp_path, s.file(y)))
    s = Sketch()
    whole = s.file(s.conv(s.input(*IMAGE), 4))
    assert "truncated or damaged" in refusal(saved(tmp_path, whole[: len(whole) // 2]))
    assert "is not a .tflite file" in refusal(saved(tmp_path, b"nothing at all, and enough of it"))


def test_a_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    s = Sketch()
    x = s.input(*IMAGE)
    handle = s.tensor((), "resource")
    s.ops.append(Op("VAR_HANDLE", (), (handle,), {"shared_name": "kept", "container": ""}))
    kept = s.op("READ_VARIABLE", (handle,), IMAGE)
    path = saved(tmp_path, s.file(s.op("ADD", (x, kept), IMAGE)))
    said = refusal(path)
    assert "keeps a state from one call to the next" in said and "multigraft firmware" in said


def test_a_size_that_is_left_open_is_refused(tmp_path: Path) -> None:
    s = Sketch()
    content = s.file(s.conv(s.input(*IMAGE), 4))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    image = model.subgraphs[0].tensors[0]
    image.shapeSignature = [-1, -1, -1, 3]
    said = refusal(saved(tmp_path, packed(model)))
    assert "leaves the size of its input t0 open (? x ? x ? x 3)" in said
    image.shapeSignature = [-1, *IMAGE[1:]]
    assert load(saved(tmp_path, packed(model))).graph.inputs == ("t0",)


def test_a_size_that_is_left_open_is_set_by_the_preprocessing(tmp_path: Path) -> None:
    s = Sketch()
    content = s.file(s.conv(s.conv(s.input(*IMAGE), 4), 2))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for tensor in model.subgraphs[0].tensors:
        if len(tensor.shape) == 4 and tensor.shape[0] == 1:
            tensor.shapeSignature = [-1, -1, -1, tensor.shape[3]]
    path = saved(tmp_path, packed(model))
    network = load_network(path, preprocessing=Preprocessing(12, 20, "rgb", (0.0,) * 3, (1 / 255,) * 3))
    assert network.input_shape == (3, 12, 20)
    with pytest.raises(InputError, match="takes any x any x 3 and its preprocessing makes 12 x 20 x 1"):
        load_network(path, preprocessing=Preprocessing(12, 20, "grey", (0.0,), (1 / 255,)))
    assert not is_quantised(path)


def test_inputs_that_are_no_pictures_are_arrays(tmp_path: Path) -> None:
    s = Sketch()
    flat = s.op("RESHAPE", (s.input(1, 16, 96), s.numbers(1, 1536)), (1, 1536))
    y = s.op("LOGISTIC", (s.op("FULLY_CONNECTED", (flat, s.weights(2, 1536), s.weights(2)), (1, 2)),), (1, 2))
    content = s.file(y)
    network = load_network(saved(tmp_path, content))
    rows = np.random.default_rng(0).normal(size=(1, 16, 96)).astype(np.float32)
    assert network.input_shape == (16, 96)
    expected = Runner(content)({s.inputs[0]: rows})[y]
    assert np.allclose(network.run(rows)[network.outputs[0]], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["network.keras", "network.h5"])
def test_a_keras_file_gets_the_command_for_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(InputError, match=r"is a Keras file; .* python -c .*load_model\(.*network\.tflite"):
        load_network(path)


def test_a_saved_model_gets_the_command_for_it(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "saved_model.pb").write_bytes(b"anything")
    with pytest.raises(InputError, match=r"is a SavedModel folder; .*from_saved_model\(.*network\.tflite"):
        load_network(tmp_path / "network")


def test_unsupported_operators_are_of_their_own_kind(tmp_path: Path) -> None:
    s = Sketch()
    path = saved(tmp_path, s.file(s.op("FAKE_QUANT", (s.conv(s.input(*IMAGE), 4),), (1, 9, 7, 4))))
    with pytest.raises(UnsupportedOperatorError):
        read_tflite(path)
