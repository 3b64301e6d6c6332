"""Builds small ONNX networks in code, with seeded weights, for the conversion tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class OnnxBuilder:
    """Adds nodes one by one; every method returns the name of the tensor it made.

    Weights are scaled by their fan-in, so that activations keep about the same size at any depth.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.channels: dict[str, int] = {}

    def input(self, name: str, channels: int, height: int, width: int) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, height, width]))
        self.channels[name] = channels
        return name

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weights(self, name: str, *shape: int) -> str:
        fan_in = max(1, int(np.prod(shape[1:])))
        return self.constant(name, (self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def add(self, kind: str, name: str, *inputs: str, channels: int | None = None, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"node_{name}", **attributes))
        self.channels[name] = channels if channels is not None else self.channels[inputs[0]]
        return name

    def conv(self, name: str, x: str, outputs: int, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        inputs = self.channels[x]
        w = self.weights(f"{name}.weight", outputs, inputs // group, kernel, kernel)
        b = self.constant(f"{name}.bias", (self.rng.standard_normal(outputs) * 0.1).astype(np.float32))
        pads = [(kernel - 1) // 2] * 4
        return self.add("Conv", name, x, w, b, channels=outputs, group=group, pads=pads, strides=[stride] * 2)

    def conv_relu(self, name: str, x: str, outputs: int, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        return self.add("Relu", name, self.conv(f"{name}.conv", x, outputs, kernel, stride, group))

    def conv_relu6(self, name: str, x: str, outputs: int, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        low, high = f"{name}.low", f"{name}.high"
        self.constant(low, np.array(0, np.float32))
        self.constant(high, np.array(6, np.float32))
        return self.add("Clip", name, self.conv(f"{name}.conv", x, outputs, kernel, stride, group), low, high)

    def classifier(self, name: str, x: str, classes: int) -> str:
        """Global average pooling and a fully connected layer."""
        pooled = self.add("GlobalAveragePool", f"{name}.pool", x)
        flat = self.add("Flatten", f"{name}.flat", pooled, axis=1)
        w = self.weights(f"{name}.weight", classes, self.channels[x])
        b = self.constant(f"{name}.bias", (self.rng.standard_normal(classes) * 0.1).astype(np.float32))
        return self.add("Gemm", name, flat, w, b, channels=classes, transB=1)

    def inverted_residual(self, name: str, x: str, outputs: int, stride: int, expand: int) -> str:
        """The block of MobileNetV2 (arXiv 1801.04381)."""
        inputs = self.channels[x]
        hidden = inputs * expand
        y = x if expand == 1 else self.conv_relu6(f"{name}.expand", x, hidden, 1)
        y = self.conv_relu6(f"{name}.depthwise", y, hidden, 3, stride, group=hidden)
        y = self.conv(f"{name}.project", y, outputs, 1)
        return self.add("Add", f"{name}.add", y, x) if stride == 1 and inputs == outputs else y

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The model with ``outputs``, shapes inferred and checked."""
        infos = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, infos, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats, stride of each stage (arXiv 1801.04381, table 2)."""


def mobilenet_v2(builder: OnnxBuilder, x: str, prefix: str, stages: slice = slice(None)) -> str:
    """The stages of MobileNetV2 from ``stages``; the stem comes with the first, the last convolution with the last."""
    first, last, _ = stages.indices(len(MOBILENET_V2))
    if first == 0:
        x = builder.conv_relu6(f"{prefix}stem", x, 32, 3, 2)
    for number in range(first, last):
        expand, channels, repeats, stride = MOBILENET_V2[number]
        for repeat in range(repeats):
            x = builder.inverted_residual(
                f"{prefix}stage{number}.{repeat}", x, channels, stride if repeat == 0 else 1, expand
            )
    return builder.conv_relu6(f"{prefix}last", x, 1280, 1) if last == len(MOBILENET_V2) else x
