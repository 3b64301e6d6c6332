"""Small networks drawn at random, of what people's networks are made of: joins, dense blocks, flattened positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.narrow import like, weight_axes
from tests.converters.graft.networks import GREY, model

CLASSES = 3


class Drawn:
    """Draws a network of a picture of 8 x 8, block by block."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, Any] = {}
        self.kinds: list[str] = []

    def network(self) -> Network:
        """A stem, up to three blocks, and one of the ways to answer."""
        tensor, channels, size = self._conv("image", 1, self._width(), 3), self._last, 8
        for _ in range(int(self._rng.integers(1, 4))):
            kind = str(
                self._rng.choice(["fire", "inception", "dense", "residual", "deep", "pool", "grouped", "shuffle"])
            )
            self.kinds.append(kind)
            tensor, channels, size = getattr(self, f"_{kind}")(tensor, channels, size)
        ending = str(self._rng.choice(["pooled", "flat", "row", "channels_last", "twice"]))
        self.kinds.append(ending)
        getattr(self, f"_end_{ending}")(tensor, channels, size)
        return Network("odd", model(self._nodes, self._constants, (1, 8, 8), {"y": (CLASSES,)}), GREY)

    def _width(self) -> int:
        return int(self._rng.integers(3, 9))

    def _name(self) -> str:
        return f"t{len(self._nodes)}"

    def _add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or self._name()
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = value if value.dtype == np.int64 else value.astype(np.float32)
        return name

    def _conv(self, tensor: str, inputs: int, outputs: int, kernel: int, groups: int = 1) -> str:
        self._last = outputs
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = self._constant(self._rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))
        bias = self._constant(self._rng.normal(size=outputs) / 4)
        made = self._add("Conv", [tensor, weight, bias], pads=[kernel // 2] * 4, group=groups)
        return self._add(str(self._rng.choice(["Relu", "Sigmoid", "HardSwish"])), [made])

    def _fire(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        small, left, right = self._width(), self._width(), self._width()
        squeezed = self._conv(tensor, channels, small, 1)
        parts = [self._conv(squeezed, small, left, 1), self._conv(squeezed, small, right, 3)]
        return self._add("Concat", parts, axis=1), left + right, size

    def _inception(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        pooled = self._add("MaxPool", [tensor], kernel_shape=[3, 3], pads=[1] * 4)
        widths = [self._width() for _ in range(3)]
        kernels = (1, 3, 1)
        sources = (tensor, tensor, pooled)
        parts = [self._conv(s, channels, w, k) for s, w, k in zip(sources, widths, kernels, strict=True)]
        joined = self._add("Concat", parts, axis=-3)
        return self._conv(joined, sum(widths), sum(widths), 3, groups=sum(widths)), sum(widths), size

    def _dense(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        for _ in range(2):
            factors = [self._constant(self._rng.uniform(0.5, 1.5, channels)) for _ in range(2)]
            moments = [self._constant(self._rng.uniform(0.1, 1, channels)) for _ in range(2)]
            seen = self._add("Relu", [self._add("BatchNormalization", [tensor, *factors, *moments])])
            grown = self._width()
            tensor = self._add("Concat", [tensor, self._conv(seen, channels, grown, 3)], axis=1)
            channels += grown
        return tensor, channels, size

    def _residual(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        hidden = self._width()
        back = self._conv(self._conv(tensor, channels, hidden, 3), hidden, channels, 1)
        scaled = self._add("Mul", [back, self._constant(self._rng.uniform(0.5, 1.5, (channels, 1, 1)))])
        return self._add("Add", [tensor, scaled]), channels, size

    def _deep(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        return self._conv(tensor, channels, channels, 3, groups=channels), channels, size

    def _grouped(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        """As in ResNeXt and RegNet, with a gate or without; each group may make more than it reads."""
        groups, each, times = (
            int(self._rng.integers(2, 5)),
            int(self._rng.integers(1, 4)),
            int(self._rng.integers(1, 3)),
        )
        hidden, wide = groups * each, groups * each * times
        seen = self._conv(self._conv(tensor, channels, hidden, 1), hidden, wide, 3, groups=groups)
        if self._rng.random() < 0.5:
            mean = self._add("GlobalAveragePool", [seen])
            seen = self._add("Mul", [seen, self._conv(self._conv(mean, wide, 3, 1), 3, wide, 1)])
        return self._add("Add", [tensor, self._conv(seen, wide, channels, 1)]), channels, size

    def _shuffle(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        """As in ShuffleNet V2: one half goes through a block, and both are dealt out anew; twice."""
        half = self._width()
        tensor = self._conv(tensor, channels, 2 * half, 1)
        for _ in range(2):
            sizes = self._constant(np.array([half, half], np.int64))
            stays, goes = f"{self._name()}a", f"{self._name()}b"
            self._nodes.append(helper.make_node("Split", [tensor, sizes], [stays, goes], axis=1))
            deep = self._conv(self._conv(goes, half, half, 1), half, half, 3, groups=half)
            joined = self._add("Concat", [stays, self._conv(deep, half, half, 1)], axis=1)
            parted = self._constant(np.array([-1, 2, half, size, size], np.int64))
            turned = self._add("Transpose", [self._add("Reshape", [joined, parted])], perm=[0, 2, 1, 3, 4])
            tensor = self._add("Reshape", [turned, self._constant(np.array([-1, 2 * half, size, size], np.int64))])
        return tensor, 2 * half, size

    def _pool(self, tensor: str, channels: int, size: int) -> tuple[str, int, int]:
        if size < 4:
            return tensor, channels, size
        return self._add("AveragePool", [tensor], kernel_shape=[2, 2], strides=[2, 2]), channels, size // 2

    def _layer(self, tensor: str, inputs: int, outputs: int, name: str = "") -> str:
        weight = self._constant(self._rng.normal(size=(inputs, outputs)) / np.sqrt(inputs))
        return self._add("Gemm", [tensor, weight, self._constant(self._rng.normal(size=outputs))], name)

    def _end_pooled(self, tensor: str, channels: int, size: int) -> None:
        self._layer(self._add("Flatten", [self._add("GlobalAveragePool", [tensor])]), channels, CLASSES, "y")

    def _end_flat(self, tensor: str, channels: int, size: int) -> None:
        flat = self._add("Relu", [self._add("Flatten", [tensor])])
        hidden = self._add("Relu", [self._layer(flat, channels * size * size, 10)])
        self._layer(hidden, 10, CLASSES, "y")

    def _end_row(self, tensor: str, channels: int, size: int) -> None:
        shape = self._constant(np.array([1, channels * size * size], np.int64))
        flat = self._add("Reshape", [tensor, shape])
        self._layer(flat, channels * size * size, CLASSES, "y")

    def _end_channels_last(self, tensor: str, channels: int, size: int) -> None:
        """As Keras exports it: the channels of a position are side by side."""
        turned = self._add("Transpose", [tensor], perm=[0, 2, 3, 1])
        flat = self._add("Reshape", [turned, self._constant(np.array([1, -1], np.int64))])
        self._layer(flat, channels * size * size, CLASSES, "y")

    def _end_twice(self, tensor: str, channels: int, size: int) -> None:
        """All positions beside their mean, which reads each channel twice."""
        mean = self._add("Flatten", [self._add("GlobalAveragePool", [tensor])])
        joined = self._add("Concat", [self._add("Flatten", [tensor]), mean], axis=1)
        self._layer(joined, channels * (size * size + 1), CLASSES, "y")


def unread(network: Network, groups: tuple[Channels, ...], kept: list[Any]) -> Network:
    """``network`` where no layer reads what is not ``kept``: its weights there are 0."""
    values = {name: np.array(value) for name, value in network.constants.items()}
    for group, some in zip(groups, kept, strict=True):
        gone = np.setdiff1d(np.arange(group.count), some)
        for index in group.readers:
            reader = network.nodes[index]
            weight = np.moveaxis(values[reader.input[1]], weight_axes(reader)[0], 0)
            weight[group.tensors[reader.input[0]].places[gone].reshape(-1)] = 0
    changed = onnx.ModelProto()
    changed.CopyFrom(network.model)
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    return like(network, changed)
