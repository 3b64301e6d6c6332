"""``multigraft check``: what a file is, where its operators go, and what stands in the way, without frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multigraft.cli.main import main
from multigraft.converters.conversion.rewrite import RULES
from multigraft.converters.importing.known_operators import BECOMES, INT8_OPERATORS
from multigraft.tflite.operators import OPERATORS
from tests.converters.importing.network_builder import NetworkBuilder, saved


def network(last: str = "Relu", shape: Any = (1, 3, 8, 8)) -> onnx.ModelProto:
    g = NetworkBuilder()
    y = g.add("Relu", [g.add("Conv", ["image", g.weight("w", 4, 3, 3, 3)], "c")], "r")
    y = g.add("Elu", [g.add("Conv", [y, g.weight("v", 4, 1, 3, 3)], "d", group=4)], "e")
    return g.model(g.add(last, [y], "answer"), shape=shape)


def checked(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    code = main(["check", str(path), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_a_network_that_can_be_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(saved(network(), tmp_path), capsys)
    assert code == 0 and found["can_be_built"] and found["problems"] == []
    assert found["inputs"] == ["image: float 1 x 3 x 8 x 8"]
    assert found["opset"] == 17
    assert found["parameters"] == 4 * 3 * 9 + 4 * 9
    assert found["macs"] == 36 * 4 * 27 + 16 * 4 * 9
    assert [(p["name"], p["shape"]) for p in found["cut_points"]] == [("r", [4, 6, 6])]
    rows = {(r["operator"], *r["becomes"]): (r["count"], r["int8"]) for r in found["rows"]}
    assert rows == {
        ("Conv", "CONV_2D"): (1, True),
        ("Conv", "DEPTHWISE_CONV_2D"): (1, True),
        ("Elu", "ELU"): (1, False),
        ("Relu", "RELU"): (2, True),
    }
    assert found["firmware"] == {"Conv": [], "Elu": ["ELU"], "Relu": []}


def test_the_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(saved(network(), tmp_path))]) == 0
    printed = capsys.readouterr().out
    for words in ("opset 17", "144 parameters", "stays float32", "lacks ELU", "It can be built."):
        assert words in printed


def test_every_kind_of_operator_in_the_way_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network("NonZero")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.node.append(helper.make_node("MaxRoiPool", ["r", "rois"], ["pooled"], "roi", pooled_shape=[2, 2]))
    rois = np.array([[0, 0, 0, 3, 3]], np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rois, "rois"))
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    code, found = checked(saved(model, tmp_path), capsys)
    assert code == 2 and not found["can_be_built"]
    problems = [p["problem"] for p in found["problems"]]
    assert len(problems) == 2
    assert "NonZero" in problems[0] and "MaxRoiPool" in problems[1] and "roi'" in problems[1]
    assert all(p["remedy"] for p in found["problems"])


def test_an_open_size_is_assumed_or_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(network(shape=("n", 3, "h", "w")), tmp_path)
    _, found = checked(path, capsys)
    assert found["notes"] == ["its size is open; it was checked at 224 x 224 pixels"]
    _, found = checked(path, capsys, "--size", "16x8")
    assert found["notes"] == [] and found["cut_points"][0]["shape"] == [4, 14, 6]
    assert main(["check", str(path), "--size", "16"]) == 2


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.onnx"
    assert main(["check", str(path)]) == 2
    path.write_bytes(b"no network")
    code, found = checked(path, capsys)
    assert code == 2 and "is not an ONNX file" in found["problems"][0]["problem"]
    assert found["rows"] == [] and found["parameters"] is None


def test_the_table_names_operators_that_there_are() -> None:
    assert {name for becomes in BECOMES.values() for name in becomes} <= OPERATORS.keys()
    assert INT8_OPERATORS - {"STABLEHLO_COMPOSITE"} <= OPERATORS.keys()
    assert RULES.keys() <= BECOMES.keys()


def test_int8_operators_are_those_of_the_quantiser() -> None:
    policy = pytest.importorskip("litert_quantizer.default_policy")
    texts = [v for v in vars(policy).values() if isinstance(v, str) and '"static_wi8_ai8": [' in v]
    listed = json.loads("[" + texts[0].split('"static_wi8_ai8": [')[1].split("]")[0] + "]")
    ours = (set(listed) - {"INPUT", "OUTPUT", "CONV_2D_TRANSPOSE"}) | {"TRANSPOSE_CONV"}
    assert ours == INT8_OPERATORS
