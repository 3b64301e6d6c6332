"""Files and networks that are refused at import: one sentence each, that names the node or the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from multigraft.converters.importing.importer import load_network
from multigraft.errors import InputError, MultigraftError, UnsupportedOperatorError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.importing.network_builder import FLOAT, SIZE, NetworkBuilder, saved, small


def branching() -> onnx.ModelProto:
    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w", 4, 3, 3, 3)], "c")
    positive = g.add(
        "Greater", [g.add("ReduceSum", [y], "sum", keepdims=0), g.constant("zero", np.float32(0))], "positive"
    )
    branches = [
        helper.make_graph(
            [helper.make_node(kind, [y], [f"{kind}.y"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}.y", FLOAT, None)],
        )
        for kind in ("Relu", "Neg")
    ]
    g.add("If", [positive], "answer", then_branch=branches[0], else_branch=branches[1])
    return g.model("answer")


def foreign() -> onnx.ModelProto:
    model = small()
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def with_operator(operator: str, dtype: int = FLOAT, **attributes: Any) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        g = NetworkBuilder()
        y = g.add("Conv", ["image", g.weight("w", 4, 3, 3, 3)], "c")
        model = g.model(g.add(operator, [y], "answer", **attributes))
        model.graph.output[0].type.tensor_type.elem_type = dtype
        return model

    return make


def attention(**given: Any) -> onnx.ModelProto:
    g = NetworkBuilder()
    y = g.add("Conv", ["image", g.weight("w", 4, 3, 1, 1)], "c")
    g.nodes.append(helper.make_node("Attention", [y, y, y], ["answer", "", "", "scores"], "node_answer", **given))
    return g.model("answer", "scores", opset=23)


def integers() -> onnx.ModelProto:
    g = NetworkBuilder()
    x = g.add("Add", ["image", "image"], "twice")
    return g.model(g.add("Cast", [x], "answer", to=FLOAT), dtype=TensorProto.INT32)


@pytest.mark.parametrize(
    ("make", "node"),
    [
        (branching, "If 'node_answer' is control flow"),
        (foreign, "Relu 'node_answer' is of the operator set 'com.example'"),
        (with_operator("RandomNormalLike"), "RandomNormalLike 'node_answer' draws random numbers"),
        (with_operator("NonZero", TensorProto.INT64), "NonZero 'node_answer' gives an output whose shape"),
        (
            lambda: attention(is_causal=1, qk_matmul_output_mode=2),
            "Attention 'node_answer' gives its masked scores, which runtimes write differently",
        ),
        (integers, "input image is int32, not float32, read by Add 'node_twice'"),
    ],
)
def test_unsupported_operators_are_named_with_their_node(
    make: Callable[[], onnx.ModelProto], node: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        load_network(saved(make(), tmp_path))
    assert node in str(caught.value) and "network.onnx" in str(caught.value)


def test_scores_that_no_mask_touches_are_taken(tmp_path: Path) -> None:
    for options in ({"qk_matmul_output_mode": 2}, {"is_causal": 1, "qk_matmul_output_mode": 3}):
        assert "network/scores" in load_network(saved(attention(**options), tmp_path)).outputs


def two_inputs() -> onnx.ModelProto:
    model = small()
    model.graph.input.append(helper.make_tensor_value_info("extra", FLOAT, [1]))
    model.graph.node.append(helper.make_node("Relu", ["extra"], ["extra_out"]))
    return model


@pytest.mark.parametrize(
    ("model", "preprocessing", "words"),
    [
        (two_inputs(), None, "2 inputs (image, extra)"),
        (small(shape=(3, SIZE, SIZE)), Preprocessing(8, 8), "has 3 dimensions"),
        (small(shape=("n", 3, "h", "w")), None, "dynamic"),
        (small(), Preprocessing(9, 8), "takes 8 x 8 pixels of 3 channels and its preprocessing makes 9 x 8"),
        (small(), Preprocessing(8, 8, "grey", (0.0,), (1.0,)), "of 1 channels"),
    ],
)
def test_inputs_that_are_no_image_or_another_size_are_refused(
    model: onnx.ModelProto, preprocessing: Preprocessing | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load_network(saved(model, tmp_path), preprocessing=preprocessing)
    assert words in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_give_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    whole = small().SerializeToString()
    path = tmp_path / "damaged.onnx"
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        path.write_bytes(data.draw(st.binary(max_size=200)))
    with pytest.raises(InputError) as caught:
        load_network(path)
    assert "damaged.onnx" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "n.onnx", save_as_external_data=True, location="n.bin", size_threshold=0)
    whole = (tmp_path / "n.bin").read_bytes()
    (tmp_path / "n.bin").write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"n\.bin has \d+ bytes and n\.onnx needs"):
        load_network(tmp_path / "n.onnx")
    (tmp_path / "n.bin").unlink()
    with pytest.raises(InputError, match=r"keeps weights in n\.bin, which is not beside it; copy"):
        load_network(tmp_path / "n.onnx")
    for name in ("none.onnx", "none.pt", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(MultigraftError, match=r"does not exist|is not a network"):
            load_network(tmp_path / name)
