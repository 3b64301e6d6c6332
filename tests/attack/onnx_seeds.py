"""ONNX files that mutants are made of: every form that importers know, and graphs of many operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tests.converters.importing.network_builder import NetworkBuilder
from tests.converters.importing.unusual_forms import FORMS, SIZE, classes, constant_loop, conv_relu, plain
from tests.fuzz.__main__ import graph_of

WEIGHTS = "weights.bin"
"""The file of external data; it has to lie beside a mutant."""


def seeds(graphs: int) -> dict[str, bytes]:
    """Name to content.

    Args:
        graphs: How many random graphs, of one to eight operators each.
    """
    models = {make.__name__: make(0) for make in FORMS} | {"constant_loop": constant_loop(), "quantised": quantised()}
    models |= {"external": external()} | {f"graph {n}": graph_of(n).model for n in range(graphs)}
    return {name: model.SerializeToString() for name, model in models.items()}


def write_weights(folder: Path) -> None:
    """What :func:`external` refers to."""
    content = np.concatenate([numpy_helper.to_array(i).ravel() for i in plain().graph.initializer])
    (folder / WEIGHTS).write_bytes(content.astype(np.float32).tobytes())


def external() -> onnx.ModelProto:
    """All weights in another file."""
    model, at = plain(), 0
    for tensor in model.graph.initializer:
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": WEIGHTS, "offset": str(at), "length": str(length)}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        at += length
    return model


def quantised() -> onnx.ModelProto:
    """QuantizeLinear and DequantizeLinear around a convolution with int8 weights."""
    g = NetworkBuilder()
    scale, zero = g.constant("s", np.float32(0.05)), g.constant("z", np.int8(3))
    q = g.add("QuantizeLinear", ["image", scale, zero], "q")
    x = g.add("DequantizeLinear", [q, scale, zero], "x")
    rng = np.random.default_rng(0)
    w8 = g.constant("w8", rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8))
    scales = g.constant("ws", np.linspace(0.01, 0.02, 8, dtype=np.float32))
    zeros = g.constant("wz", np.zeros(8, np.int8))
    w = g.add("DequantizeLinear", [w8, scales, zeros], "w", axis=0)
    y = g.add("Relu", [g.add("Conv", [x, w], "c", pads=[1] * 4, strides=[2, 2])], "r")
    y = g.add("DequantizeLinear", [g.add("QuantizeLinear", [y, scale, zero], "rq"), scale, zero], "rx")
    return g.model(classes(g, conv_relu(g, y, "b")), shape=(1, 3, SIZE, SIZE))
