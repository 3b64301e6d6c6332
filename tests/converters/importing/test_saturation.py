"""Sigmoids that hardly answer: their rounding is no difference, and what they read still decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.importing.fold_input import fold_input
from multigraft.converters.importing.saturation import before_saturation
from multigraft.converters.importing.simplify import simplify
from multigraft.converters.network.closeness import TOLERANCE, difference
from multigraft.tensors.preprocessing import Preprocessing

SIZE = 16
PREPROCESSING = Preprocessing(SIZE, SIZE, "rgb", (123.7, 116.3, 103.5), (1 / 58.4, 1 / 57.1, 1 / 57.4))


def detector(logit: float, *, seed: int = 0, ends: tuple[str, ...] = ("answer",)) -> onnx.ModelProto:
    """A convolution, a batch norm and a sigmoid of values around ``logit``; ``flat`` is the answer in one row."""
    rng = np.random.default_rng(seed)
    constants = {
        "w": rng.normal(0, 0.2, (4, 3, 3, 3)),
        "gamma": rng.uniform(0.5, 2, 4),
        "beta": np.full(4, logit),
        "mean": rng.normal(0, 1, 4),
        "variance": rng.uniform(0.5, 2, 4),
    }
    initialisers = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()]
    initialisers.append(numpy_helper.from_array(np.array([1, -1], np.int64), "row"))
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["answer"]),
        helper.make_node("Reshape", ["answer", "row"], ["flat"]),
        helper.make_node("Neg", ["answer"], ["negative"]),
    ]
    image_shape = [1, 4, SIZE - 2, SIZE - 2]
    shapes = {"answer": image_shape, "negative": image_shape, "flat": [1, 4 * (SIZE - 2) ** 2]}
    needed = [n for n in nodes if n.output[0] in {"c", "logits", "answer", *ends}]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in ends]
    graph = helper.make_graph(needed, "detector", [image], outputs, initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def answers(model: onnx.ModelProto) -> list[npt.NDArray[np.float32]]:
    x = np.random.default_rng(1).normal(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)
    found: list[npt.NDArray[np.float32]] = ort.InferenceSession(model.SerializeToString()).run(None, {"image": x})
    return found


@pytest.mark.parametrize("logit", [-15.0, -16.5, -18.0, -60.0])
@pytest.mark.parametrize("ends", [("answer",), ("flat",)])
def test_a_detector_that_finds_nothing_is_imported(logit: float, ends: tuple[str, ...]) -> None:
    model = detector(logit, ends=ends)
    folded, left = fold_input(simplify(model, PREPROCESSING, "detector"), PREPROCESSING)
    assert left != PREPROCESSING and [o.name for o in folded.graph.output] == list(ends)


def test_what_the_sigmoid_reads_tells_networks_apart() -> None:
    silent = before_saturation(detector(-60.0)), before_saturation(detector(-60.0, seed=1))
    assert {ends for _, ends in silent} == {frozenset({"answer"})}
    assert difference(answers(silent[0][0]), answers(silent[1][0])) > TOLERANCE


@pytest.mark.parametrize("ends", [("negative",), ("answer", "negative"), ("answer", "flat")])
def test_a_sigmoid_that_something_else_reads_stays(ends: tuple[str, ...]) -> None:
    model = detector(0.0, ends=ends)
    changed, found = before_saturation(model)
    assert not found
    assert all(np.array_equal(a, b) for a, b in zip(answers(changed), answers(model), strict=True))
