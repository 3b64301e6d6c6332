"""Networks as exporters write them, built by hand, and their answers in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.importing.importer import load_network

FLOAT = TensorProto.FLOAT
SIZE = 8


class NetworkBuilder:
    """A graph whose weights are seeded; nodes and constants are added by hand, as exporters do."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        return self.constant(name, self.rng.normal(0, 0.3, shape).astype(np.float32))

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def batch_norm(self, x: str, output: str, channels: int) -> str:
        names = [
            self.constant(f"{output}.{part}", self.rng.uniform(0.5, 2, channels).astype(np.float32))
            for part in ("gamma", "beta", "mean", "variance")
        ]
        return self.add("BatchNormalization", [x, *names], output, epsilon=1e-3)

    def model(
        self, *outputs: str, shape: Any = (1, 3, SIZE, SIZE), opset: int = 17, dtype: int = FLOAT
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", dtype, shape)],
            [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small(**kwargs: Any) -> onnx.ModelProto:
    """A convolution and a rectifier."""
    graph = NetworkBuilder()
    y = graph.add("Conv", ["image", graph.weight("w", 4, 3, 3, 3)], "features", pads=[1] * 4)
    return graph.model(graph.add("Relu", [y], "answer"), **kwargs)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    """Where it was written."""
    path = folder / "network.onnx"
    onnx.save(model, path)
    return path


def answers(model: onnx.ModelProto, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """What onnxruntime says."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[Any]] = session.run(None, {session.get_inputs()[0].name: x})
    return outputs


def assert_same(model: onnx.ModelProto, folder: Path, **kwargs: Any) -> Any:
    network = load_network(saved(model, folder), **kwargs)
    x = np.random.default_rng(1).random((2, *network.input_shape), dtype=np.float32)
    for row in range(2):
        expected = answers(model, x[row : row + 1])
        for new, old in zip(network.run(x[row : row + 1]).values(), expected, strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)
    return network


def answer(network: Any, x: npt.NDArray[Any]) -> Any:
    return network.run(x)[f"{network.name}/answer"]


def operators(network: Any) -> list[str]:
    return [n.op_type for n in network.nodes]
