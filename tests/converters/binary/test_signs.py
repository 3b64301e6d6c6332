"""Networks in ONNX: which of their layers read signs, and what is written in place of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from multigraft.converters.binary.signs import rewrite_signs
from multigraft.tensors.arrays import Array
from tests.converters.onnx_builder import OnnxBuilder


def network(step: str = "where", size: float = 0.25, relu: bool = False, padded: bool = False) -> onnx.ModelProto:
    """A convolution of numbers, one of their signs with weights of -a and a, and a classifier."""
    b = OnnxBuilder(3)
    x = b.conv("first", b.input("x", 3, 8, 8), 8)
    if relu:
        x = b.add("Relu", "positive", x)
    if padded:
        b.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        x = b.add("Pad", "padded", x, "pads")
    if step == "where":
        for name, value in (("zero", 0), ("one", 1), ("minus", -1)):
            b.constant(name, np.array(value, np.float32))
        b.add("GreaterOrEqual", "above", x, "zero")
        signs = b.add("Where", "signs", "above", "one", "minus", channels=8)
    else:
        signs = b.add("Sign", "signs", x)
    b.constant("weight", (size * b.rng.choice([-1, 1], (6, 8, 3, 3))).astype(np.float32))
    y = b.add("Conv", "second", signs, "weight", channels=6, pads=[0 if padded else 1] * 4)
    return b.model(b.classifier("logits", y, 4))


def answers(model: onnx.ModelProto, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    result: Array = session.run(None, {"x": x})[0]
    return result


def frames(count: int = 4) -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.random((1, 3, 8, 8), np.float32)} for _ in range(count)]


def test_signs_and_sizes_stand_apart_and_the_answers_stay() -> None:
    model = network()
    signs = rewrite_signs(model, frames())
    assert signs.layers == ("node_second",) and not signs.refused
    kinds = [node.op_type for node in signs.model.graph.node]
    assert kinds.count("Sign") == 2 and "Where" not in kinds
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in signs.model.graph.initializer}
    layer = next(n for n in signs.model.graph.node if n.op_type == "Conv" and "second" in n.name + n.output[0])
    assert set(np.unique(weights[layer.input[1]])) == {-1.0, 1.0}
    for feed in frames():
        np.testing.assert_allclose(answers(signs.model, feed["x"]), answers(model, feed["x"]), atol=1e-5)


def test_a_sign_that_meets_0_is_refused_with_the_reason() -> None:
    signs = rewrite_signs(network("sign", relu=True), frames())
    assert not signs.layers and "met exactly 0" in signs.refused["node_second"]
    assert rewrite_signs(network("sign"), frames()).layers == ("node_second",)


def test_a_padding_with_0_before_the_sign_pads_the_signs() -> None:
    model = network("sign", padded=True)
    signs = rewrite_signs(model, frames())
    assert signs.layers == ("node_second",)
    assert [n.op_type for n in signs.model.graph.node].index("Pad") > 2
    x = frames()[0]["x"]
    np.testing.assert_allclose(answers(signs.model, x), answers(model, x), atol=1e-5)


def test_a_network_without_signs_stays() -> None:
    b = OnnxBuilder(0)
    model = b.model(b.classifier("logits", b.conv_relu("first", b.input("x", 3, 8, 8), 8), 4))
    signs = rewrite_signs(model, frames())
    assert (signs.layers, signs.tensors, dict(signs.refused)) == ((), (), {})
