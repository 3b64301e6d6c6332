"""Files in every form that exporters and tools write: each becomes a float32 network that computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.onnx_reader import read_onnx
from multigraft.errors import InputError, UnsupportedOperatorError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.importing.network_builder import (
    FLOAT,
    NetworkBuilder,
    answer,
    answers,
    assert_same,
    operators,
    saved,
)

NEWEST = onnx.defs.onnx_opset_version()
FRAME = np.random.default_rng(5).random((1, 3, 8, 8), dtype=np.float32)


def classifier(opset: int = 17, dtype: Any = np.float32) -> onnx.ModelProto:
    """Two convolutions, pooling, and a dense layer."""
    g = NetworkBuilder()

    def weight(name: str, *shape: int) -> str:
        return g.constant(name, g.rng.normal(0, 0.3, shape).astype(dtype))

    y = g.add("Relu", [g.add("Conv", ["image", weight("w1", 8, 3, 3, 3), weight("b1", 8)], "c1", pads=[1] * 4)], "r1")
    y = g.add("Relu", [g.add("Conv", [y, weight("w2", 8, 8, 3, 3), weight("b2", 8)], "c2")], "r2")
    y = g.add("Flatten", [g.add("GlobalAveragePool", [y], "pool")], "flat")
    g.add("Gemm", [y, weight("w3", 5, 8), weight("b3", 5)], "answer", transB=1)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = g.model("answer", opset=opset, dtype=kind)
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 18, NEWEST - 1, NEWEST])
def test_every_operator_set_from_7_on_is_read(opset: int, tmp_path: Path) -> None:
    network = load_network(saved(classifier(opset), tmp_path))
    np.testing.assert_allclose(answer(network, FRAME), answers(classifier(17), FRAME)[0], rtol=1e-4, atol=1e-5)
    assert operators(network)[-1] == "Gemm"
    assert len(network.cut_points) == 2


def test_initialisers_may_be_inputs_as_in_the_third_version_of_the_format(tmp_path: Path) -> None:
    model = classifier(8)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in model.graph.initializer
    )
    assert_same(model, tmp_path)


def test_sparse_initialisers_are_written_out(tmp_path: Path) -> None:
    model = classifier()
    expected = onnx.ModelProto()
    expected.CopyFrom(model)
    for stored, plain in zip(list(model.graph.initializer)[:4:2], list(expected.graph.initializer)[:4:2], strict=True):
        value = numpy_helper.to_array(stored) * (np.arange(stored.dims[0]) % 2).reshape(-1, 1, 1, 1).astype(np.float32)
        plain.CopyFrom(numpy_helper.from_array(value, stored.name))
        at = np.flatnonzero(value) if stored.name == "w1" else np.argwhere(value)
        model.graph.sparse_initializer.append(
            helper.make_sparse_tensor(
                numpy_helper.from_array(value[value != 0], stored.name),
                numpy_helper.from_array(at.astype(np.int64), f"{stored.name}_at"),
                value.shape,
            )
        )
        model.graph.initializer.remove(stored)
    network = load_network(saved(model, tmp_path))
    np.testing.assert_allclose(answer(network, FRAME), answers(expected, FRAME)[0], rtol=1e-4, atol=1e-5)


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    model = classifier()
    expected = answers(model, FRAME)[0]
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    np.testing.assert_allclose(answer(load_network(saved(model, tmp_path)), FRAME), expected, rtol=1e-4, atol=1e-5)


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[0].input[0] = "r2"
    with pytest.raises(InputError, match="reads what it writes itself"):
        load_network(saved(model, tmp_path))


def external(folder: Path) -> Path:
    folder.mkdir(parents=True)
    onnx.save(classifier(), folder / "n.onnx", save_as_external_data=True, location="n.bin", size_threshold=0)
    return folder / "n.onnx"


def test_external_data_may_lie_behind_links_inside_the_models_folder(tmp_path: Path) -> None:
    path = external(tmp_path / "a")
    (tmp_path / "a" / "blobs").mkdir()
    (tmp_path / "a" / "n.bin").rename(tmp_path / "a" / "blobs" / "1f")
    (tmp_path / "a" / "n.bin").symlink_to("blobs/1f")
    linked = answer(load_network(path, name="network"), FRAME)
    np.testing.assert_allclose(linked, answers(classifier(), FRAME)[0], rtol=1e-4, atol=1e-5)


def test_a_download_caches_links_are_followed_to_where_the_model_itself_is(tmp_path: Path) -> None:
    path, snapshot = external(tmp_path / "blobs"), tmp_path / "snapshots"
    snapshot.mkdir()
    for name in ("n.onnx", "n.bin"):
        (snapshot / name).symlink_to(path.parent / name)
    assert len(load_network(snapshot / "n.onnx").constants) == 6


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link"])
def test_external_data_outside_of_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    path = external(tmp_path / "a")
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (tmp_path / "a" / "link").symlink_to("../secret")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location
    onnx.save(model, path)
    with pytest.raises(InputError, match="outside of its folder"):
        load_network(path)


def calling_twice(depth: int) -> onnx.ModelProto:
    """Functions of which each calls the one before twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(level: int) -> onnx.FunctionProto:
        kind, domain = (f"f{level - 1}", "own") if level else ("Relu", "")
        nodes = [
            helper.make_node(kind, ["x"], ["y"], domain=domain),
            helper.make_node(kind, ["y"], ["z"], domain=domain),
        ]
        return helper.make_function("own", f"f{level}", ["x"], ["z"], nodes, opsets)

    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w", 4, 3, 3, 3)], "c")
    model = g.model(g.add(f"f{depth - 1}", [y], "answer", domain="own"))
    model.functions.extend(function(level) for level in range(depth))
    model.opset_import.append(opsets[1])
    return model


def test_functions_are_written_out(tmp_path: Path) -> None:
    assert operators(assert_same(calling_twice(3), tmp_path))[0] == "Conv"


def test_functions_that_explode_are_refused_before_they_do(tmp_path: Path) -> None:
    path = saved(calling_twice(30), tmp_path)
    assert path.stat().st_size < 4000
    with pytest.raises(InputError, match="unfolds to more than 100,000 nodes"):
        load_network(path)


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    model = calling_twice(2)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "f1", "own"
    with pytest.raises(InputError, match="call themselves"):
        load_network(saved(model, tmp_path))


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_are_cast_with_a_note(dtype: Any, is_sorted: bool, tmp_path: Path) -> None:
    model = classifier(dtype=dtype)
    expected = answers(classifier(), FRAME)[0]
    if not is_sorted:
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    notes: list[str] = []
    network = load_network(saved(model, tmp_path), report=notes.append)
    np.testing.assert_allclose(answer(network, FRAME), expected, rtol=0.02, atol=0.02)
    assert notes == [f"note: network.onnx holds {np.dtype(dtype)}; it is cast to float32"]
    assert {v.dtype for v in network.constants.values()} == {np.dtype(np.float32)}


class Frames(CalibrationDataReader):  # type: ignore[misc]
    """Sixteen frames to set ranges by."""

    def __init__(self) -> None:
        self.left = list(np.random.default_rng(6).random((16, 1, 3, 8, 8), dtype=np.float32))

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return {"image": self.left.pop()} if self.left else None


@pytest.mark.parametrize("format", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("is_per_channel", [False, True])
@pytest.mark.parametrize("activation", [QuantType.QUInt8, QuantType.QInt8])
def test_quantised_networks_are_float_again(
    format: QuantFormat, is_per_channel: bool, activation: QuantType, tmp_path: Path
) -> None:
    source = saved(classifier(), tmp_path)
    path = tmp_path / "quantised.onnx"
    quantize_static(
        source, path, Frames(), format, per_channel=is_per_channel, activation_type=activation,
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    notes: list[str] = []
    network = load_network(path, report=notes.append)
    assert notes == ["note: quantised.onnx is quantised; its weights are taken as float32, rounded as they are"]
    assert operators(network) == ["Conv", "Relu", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"] or operators(
        network
    ) == ["Conv", "Relu", "Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm"]
    expected = answers(onnx.load(path), FRAME)[0]
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(answer(network, FRAME), expected, atol=0.05 * scale)


def test_dynamic_quantisation_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "quantised.onnx"
    quantize_dynamic(saved(classifier(), tmp_path), path)
    expected = answers(onnx.load(path), FRAME)[0]
    network = load_network(path)
    np.testing.assert_allclose(answer(network, FRAME), expected, atol=0.05 * float(np.abs(expected).max()))
    assert operators(network).count("Conv") == 2


def test_an_integer_input_that_is_dequantised_takes_pixels(tmp_path: Path) -> None:
    g = NetworkBuilder()
    scale, zero = g.constant("s", np.float32(0.02)), g.constant("z", np.uint8(128))
    y = g.add("DequantizeLinear", ["image", scale, zero], "real")
    y = g.add("Conv", [y, g.weight("w", 4, 3, 3, 3)], "answer")
    model = g.model(y, dtype=TensorProto.UINT8)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    network = load_network(saved(model, tmp_path))
    value = answer(network, pixels.astype(np.float32))
    np.testing.assert_allclose(value, answers(model, pixels)[0], rtol=1e-4, atol=1e-4)


def test_integers_that_are_computed_with_in_other_ways_are_refused_by_name(tmp_path: Path) -> None:
    g = NetworkBuilder()
    scale, zero = g.constant("s", np.float32(0.02)), g.constant("z", np.uint8(128))
    y = g.add("QuantizeLinear", ["image", scale, zero], "q")
    y = g.add("BitShift", [y, g.constant("one", np.uint8(1))], "shifted", direction="RIGHT")
    model = g.model(g.add("DequantizeLinear", [y, scale, zero], "answer"))
    with pytest.raises(UnsupportedOperatorError, match="BitShift 'node_shifted' computes with quantised numbers"):
        load_network(saved(model, tmp_path))


def test_constants_that_cannot_be_dequantised_are_refused_by_name(tmp_path: Path) -> None:
    g = NetworkBuilder()
    weight = g.constant("w8", np.ones((4, 3, 3, 3), np.int8))
    scale = g.constant("s", np.full(4, 0.02, np.float32))
    zero = g.constant("z", np.zeros(4, np.int8))
    real = g.add("DequantizeLinear", [weight, scale, zero], "w", axis=7)
    model = g.model(g.add("Conv", ["image", real], "answer"))
    with pytest.raises(UnsupportedOperatorError, match="DequantizeLinear 'node_w' cannot be computed"):
        load_network(saved(model, tmp_path))


def test_channels_last_bytes_with_normalisation_inside_share_a_frame_with_others(tmp_path: Path) -> None:
    g = NetworkBuilder()
    y = g.add("Cast", ["image"], "float", to=FLOAT)
    y = g.add("Sub", [y, g.constant("mean", np.array([123.0, 117, 104], np.float32))], "shifted")
    y = g.add("Div", [y, g.constant("std", np.array([58.0, 57, 56], np.float32))], "normal")
    y = g.add("Transpose", [y], "first", perm=[0, 3, 1, 2])
    y = g.add("Relu", [g.add("Conv", [y, g.weight("w", 4, 3, 3, 3)], "c")], "answer")
    model = g.model(y, shape=(1, 8, 8, 3), dtype=TensorProto.UINT8)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    plain = Preprocessing(8, 8, "rgb", (0.0,) * 3, (1.0,) * 3)
    network = load_network(saved(model, tmp_path), preprocessing=plain, folds_input=True)
    value = answer(network, network.prepare([pixels[0]]))
    np.testing.assert_allclose(value, answers(model, pixels)[0], rtol=1e-3, atol=1e-3)
    assert network.preprocessing == Preprocessing(8, 8)
    assert operators(network) == ["Conv", "Relu"]


def test_read_onnx_leaves_a_float32_file_as_it_is(tmp_path: Path) -> None:
    notes: list[str] = []
    assert read_onnx(saved(classifier(), tmp_path), notes.append) == classifier()
    assert notes == []
