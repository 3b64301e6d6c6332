"""The windows of a convolution, laid side by side: as rows here, and by a depthwise convolution in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.rewriting import free_name
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Op, OptionValue, Quant, Tensor


@dataclass(frozen=True)
class Window:
    """Where a convolution looks.

    Attributes:
        size: Height and width.
        stride: Down and right.
        dilation: Likewise.
        before: Rows and columns of padding above and on the left.
        after: Below and on the right.
        positions: Rows and columns of the output.
        padding: As the operator says.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    positions: tuple[int, int]
    padding: str

    @classmethod
    def of(cls, graph: Graph, op: Op) -> Self:
        """That of a CONV_2D."""
        source, output = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
        _, height, width, _ = graph.tensors[op.inputs[1]].shape
        padding, size = str(op.options.get("padding") or "SAME"), (height, width)
        stride, dilation = _pair(op, "stride_h", "stride_w"), _pair(op, "dilation_h_factor", "dilation_w_factor")
        before, after = [0, 0], [0, 0]
        for i in (0, 1):
            reach = (output[1 + i] - 1) * stride[i] + (size[i] - 1) * dilation[i] + 1
            missing = max(reach - source[1 + i], 0) if padding == "SAME" else 0
            before[i], after[i] = missing // 2, missing - missing // 2
        ends = (before[0], before[1]), (after[0], after[1])
        return cls(size, stride, dilation, *ends, (output[1], output[2]), padding)

    @property
    def is_point(self) -> bool:
        """Whether it is one place, and every place is looked at."""
        return self.size == self.stride == (1, 1)

    def rows(self, value: Array, picked: npt.NDArray[np.intp]) -> Array:
        """The windows at positions ``picked`` of ``value`` (1, height, width, channels): rows x (channels x places)."""
        if self.is_point:
            return np.take(value.reshape(-1, value.shape[-1]), picked, axis=0)
        padded = np.pad(value[0], [*zip(self.before, self.after, strict=True), (0, 0)])
        down, right = (p * s for p, s in zip(np.divmod(picked, self.positions[1]), self.stride, strict=True))
        (height, width), (tall, wide) = self.size, self.dilation
        places = [padded[down + i * tall, right + j * wide] for i in range(height) for j in range(width)]
        rows: Array = np.stack(places, axis=-1)
        return rows.reshape(len(picked), -1)

    def laid_out(self, graph: Graph, source: str, wish: str) -> tuple[Op, list[Tensor]]:
        """The operator that does the same in a graph, and its tensors, the result first.

        Args:
            graph: The graph, for free names.
            source: An int8 tensor of it.
            wish: What the names of the tensors begin with.
        """
        read = graph.tensors[source]
        assert read.quant is not None
        height, width = self.size
        places, channels = height * width, read.shape[-1]
        each = np.zeros((1, height, width, channels * places), np.int8)
        for place in range(places):
            each[0, place // width, place % width, place::places] = 1
        shape = (1, *self.positions, channels * places)
        # A weight of 1 and equal scales on both sides: the kernels' factor is 1, and nothing is rounded.
        result = Tensor(free_name(graph, f"{wish}/windows"), shape, "int8", read.quant)
        weights = Tensor(free_name(graph, f"{wish}/places"), each.shape, "int8", Quant((1.0,), (0,), 3), each)
        zeros = np.zeros(channels * places, np.int32)
        bias = Tensor(free_name(graph, f"{wish}/zeros"), zeros.shape, "int32", Quant(read.quant.scales, (0,)), zeros)
        options: dict[str, OptionValue] = {
            "padding": self.padding,
            "stride_h": self.stride[0],
            "stride_w": self.stride[1],
            "dilation_h_factor": self.dilation[0],
            "dilation_w_factor": self.dilation[1],
            "depth_multiplier": places,
            "fused_activation_function": "NONE",
        }
        op = Op("DEPTHWISE_CONV_2D", (source, weights.name, bias.name), (result.name,), options, version=3)
        return op, [result, weights, bias]


def _pair(op: Op, *names: str) -> tuple[int, int]:
    first, second = (int(op.options.get(name) or 1) for name in names)  # type: ignore[arg-type]
    return first, second
