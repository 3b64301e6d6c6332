"""MEAN over height and width."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _axes(node: Node) -> bool:
    """The mean has to be over height and width of a four-dimensional tensor with batch 1."""
    axes, shape = node.input(1).data, node.input(0).shape
    if axes is None or len(shape) != 4 or shape[0] != 1:
        return False
    return axes.dtype.kind == "i" and sorted(int(a) % 4 for a in axes.reshape(-1)) == [1, 2]


def _shape(node: Node) -> bool:
    """The output has to have one value per channel."""
    return math.prod(node.outputs[0].shape) == node.input(0).shape[3] == node.outputs[0].shape[-1]


class Mean(Operator):
    """MEAN over height and width, with or without kept dimensions."""

    names = ("MEAN",)
    summary = "int8, over height and width"
    constraints = (int8, _axes, _shape)

    def _arithmetic(self, node: Node) -> tuple[int, int, int, int]:
        """Sum of zero points, multiplier, shift, output zero point."""
        source, result = quant(node.input(0)), quant(node.outputs[0])
        count = node.input(0).shape[1] * node.input(0).shape[2]
        real = float(np.float32(source.scales[0])) / float(np.float32(result.scales[0]))
        multiplier, shift = quantize_multiplier(real)
        down = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier = (multiplier << down) // count
        return source.zero_points[0] * count, multiplier, shift - down, result.zero_points[0]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        zero_sum, multiplier, shift, zero_point = self._arithmetic(node)
        assert inputs[0] is not None
        sums = inputs[0].astype(np.int64).sum(axis=(1, 2)) - zero_sum
        result = np.clip(rescale(sums, multiplier, shift) + zero_point, -128, 127)
        return result.astype(np.int8).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        zero_sum, multiplier, shift, zero_point = self._arithmetic(node)
        _, height, width, channels = node.input(0).shape
        fast = core.mve and shift <= 0
        kernel, includes = ("mg_mean_mve", ("mve.h", "pool.h", "pool_mve.h")) if fast else ("mg_mean", ("pool.h",))
        body = f"{kernel}(in, out, {height * width}, {channels}, {zero_sum}, {multiplier}, {shift}, {zero_point});"
        name = f"mean_{digest(body)}"
        text = f"MG_KERNEL void {name}(const int8_t *in, int8_t *out)\n{{\n    {body}\n}}\n"

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]});"

        return Kernel(call, includes, {name: text})
