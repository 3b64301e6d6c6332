"""The ways in which exporters write HardSwish, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.converters.conversion.rewrites.rewritten import OPSET, assert_same, operators

NODES = {
    "divided": ("Add x three p", "Clip p zero six r", "Mul x r m", "Div m six y"),
    "multiplied": ("Add three x p", "Clip p zero six r", "Mul r x m", "Mul m sixth y"),
    "gate": ("Add x three p", "Clip p zero six r", "Mul sixth r m", "Mul m x y"),
    "gate divided": ("Add x three p", "Clip p zero six r", "Div r six m", "Mul x m y"),
    "hard sigmoid": ("HardSigmoid x m", "Mul x m y"),
    "another bound": ("Add x three p", "Clip p zero five r", "Mul x r m", "Div m six y"),
    "another factor": ("Add x three p", "Clip p zero six r", "Mul p r m", "Div m six y"),
    "another shift": ("Add x five p", "Clip p zero six r", "Mul x r m", "Div m six y"),
    "the gate alone": ("Add x three p", "Clip p zero six r", "Div r six y"),
}


def written(*lines: str, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    constants = {"zero": 0, "three": 3, "five": 5, "six": 6, "sixth": 1 / 6}
    nodes = []
    for line in lines:
        kind, *names = line.split()
        given: dict[str, Any] = {"alpha": 1 / 6, "beta": 0.5} if kind == "HardSigmoid" else {}
        nodes.append(helper.make_node(kind, names[:-1], names[-1:], **given))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 6])
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    stored = [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


@pytest.mark.parametrize("form", NODES)
def test_it_is_one_operator(form: str) -> None:
    x = np.linspace(-6, 6, 120, dtype=np.float32).reshape(1, 4, 5, 6)
    new = assert_same(written(*NODES[form]), x)
    is_one = not form.startswith(("another", "the gate"))
    assert (operators(new) == {"HardSwish"}) == is_one and ("HardSwish" in operators(new)) == is_one


def test_what_is_read_elsewhere_stays() -> None:
    assert operators(assert_same(written(*NODES["divided"], outputs=("y", "r")))) == {"HardSwish", "Add", "Clip"}
