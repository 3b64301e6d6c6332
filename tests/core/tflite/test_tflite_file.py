"""Reading and writing .tflite files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import InputError
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Quant, Signature, Tensor
from tests.converters.graph_builder import two_tasks


def literal() -> Model:
    """Every kind of thing the view can hold."""
    weights = np.arange(-8, 7, dtype=np.int8).reshape(5, 3)
    quant = Quant((0.5, 0.25, 1.0, 2.0, 4.0), (0,) * 5, axis=0)
    graph = Graph.of(
        "head",
        ["x"],
        ["y", "z"],
        [
            Op("FULLY_CONNECTED", ("x", "w", ""), ("y",), {"fused_activation_function": "RELU6"}, version=4),
            Op("CUSTOM", ("y",), ("z",), version=2, custom_code="Mine", custom_options=b"\x01\x02\x03"),
        ],
        [
            Tensor("x", (1, 3), "int8", Quant((0.1,), (-3,))),
            Tensor("w", (5, 3), "int4", quant, weights),
            Tensor("y", (1, 5), "int8", Quant((0.2,), (7,))),
            Tensor("z", (1, 5), "float32"),
        ],
    )
    return Model((graph,), (Signature("head", {"in": "x"}, {"out": "y"}),), "a test")


def test_a_literal_survives_the_file() -> None:
    back = tflite_file.read(tflite_file.write(literal()))
    graph = back.main
    assert back.description == "a test"
    assert back.signatures == (Signature("head", {"in": "x"}, {"out": "y"}),)
    assert (graph.inputs, graph.outputs) == (("x",), ("y", "z"))
    assert graph.ops[0].inputs == ("x", "w", "")
    assert graph.ops[0].options["fused_activation_function"] == "RELU6"
    assert (graph.ops[0].version, graph.ops[1].version) == (4, 2)
    assert (graph.ops[1].label, graph.ops[1].custom_options) == ("Mine", b"\x01\x02\x03")
    assert graph.tensors["w"].quant == Quant((0.5, 0.25, 1.0, 2.0, 4.0), (0,) * 5, 0)
    held, given = graph.constant("w"), literal().main.constant("w")
    assert held is not None and given is not None
    np.testing.assert_array_equal(held, given)


@pytest.mark.parametrize(("dtype", "each"), [("int4", 2), ("int2", 4)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 31])
def test_weights_of_few_bits_share_bytes_and_survive_the_file(dtype: str, each: int, count: int) -> None:
    low = -(2 ** (8 // each - 1))
    weights = np.resize(np.arange(low, -low, dtype=np.int8), (1, count))
    quant, output = Quant((0.5,)), Tensor("y", (1, 1), "int8", Quant((0.2,)))
    tensors = [
        Tensor("x", (1, count), "int8", Quant((0.1,))),
        Tensor("w", weights.shape, dtype, quant, weights),
        output,
    ]
    graph = Graph.of("main", ["x"], ["y"], [Op("FULLY_CONNECTED", ("x", "w"), ("y",))], tensors)
    assert graph.tensors["w"].stored_bytes == -(-count // each)
    held = tflite_file.read(tflite_file.write(Model((graph,)))).main.constant("w")
    assert held is not None
    np.testing.assert_array_equal(held, weights)


def test_equal_models_give_equal_bytes_and_a_second_trip_changes_nothing() -> None:
    once = tflite_file.write(literal())
    assert once == tflite_file.write(literal())
    assert tflite_file.write(tflite_file.read(once)) == once


def test_equal_constants_of_two_subgraphs_are_stored_once() -> None:
    graph = two_tasks()
    alone = len(tflite_file.write(Model((graph,))))
    twice = len(tflite_file.write(Model((graph, dataclasses.replace(graph, name="again")))))
    assert graph.weights_bytes() > 3000
    assert twice - alone < alone - graph.weights_bytes()


def test_buffers_are_aligned_to_16_bytes() -> None:
    graph = two_tasks()
    content = tflite_file.write(Model((graph,)))
    for tensor in graph.tensors.values():
        if tensor.data is not None and tensor.stored_bytes >= 32:
            assert content.index(tensor.data.tobytes()) % 16 == 0, tensor.name


def test_weights_behind_the_flatbuffer_are_read_and_written_into_it() -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = two_tasks()
    packed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_file.write(Model((graph,)))))
    outside = []
    for buffer in packed.buffers:
        if buffer.data is not None and len(buffer.data):
            outside.append((buffer, bytes(buffer.data)))
            buffer.data, buffer.offset, buffer.size = None, 2, len(outside[-1][1])

    def packed_bytes() -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(packed.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    position = len(packed_bytes())
    for buffer, content in outside:
        buffer.offset, position = position, position + len(content)
    file = packed_bytes() + b"".join(content for _, content in outside)
    read = tflite_file.read(file).main
    for name, tensor in graph.tensors.items():
        if tensor.data is not None:
            held = read.constant(name)
            assert held is not None
            np.testing.assert_array_equal(held, tensor.data)
    assert tflite_file.write(Model((read,))) == tflite_file.write(Model((graph,)))
    with pytest.raises(InputError, match="truncated"):
        tflite_file.read(file[:-1])


def test_names_are_made_unique() -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = two_tasks()
    packed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_file.write(Model((graph,)))))
    for tensor in packed.subgraphs[0].tensors:
        tensor.name = "same"
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(packed.Pack(builder), file_identifier=b"TFL3")
    read = tflite_file.read(bytes(builder.Output())).main
    assert len(read.tensors) == len(graph.tensors)
    assert [op.name for op in read.ops] == [op.name for op in graph.ops]


def test_a_file_truncated_anywhere_gives_one_sentence(tmp_path: Path) -> None:
    content = tflite_file.write(literal())
    path = tmp_path / "cut.tflite"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            tflite_file.read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"PK\x03\x04" + b"zip" * 20, b"\x00\x00\x00\x00TFL3"])
def test_foreign_files_are_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        tflite_file.read(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.tflite"):
        tflite_file.read(tmp_path / "nothing.tflite")


def test_an_unknown_option_is_refused() -> None:
    graph = two_tasks()
    op = graph.ops[0].with_options(strid_h=2)
    wrong = dataclasses.replace(graph, ops=(op, *graph.ops[1:]))
    with pytest.raises(InputError, match="stride_h"):
        tflite_file.write(Model((wrong,)))


def test_a_constant_without_elements_stays_one() -> None:
    tensors = [Tensor("x", (1, 1)), Tensor("to", (0,), "int32", data=np.empty(0, np.int32)), Tensor("y", ())]
    graph = Graph.of("g", ["x"], ["y"], [Op("RESHAPE", ("x", "to"), ("y",))], tensors)
    value = tflite_file.read(tflite_file.write(Model((graph,)))).main.constant("to")
    assert value is not None and value.shape == (0,) and value.dtype == np.int32
