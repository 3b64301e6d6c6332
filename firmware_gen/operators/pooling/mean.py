"""MEAN and SUM over any axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.firmware_gen.operators.base.constraints import int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.pooling.reduction import axes_of, fits, reduction_loops
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_MOST_SUMMED = 1 << 23
"""Elements of one sum, so that it fits 32 bits with its zero points."""


def _summed(node: Node) -> int:
    """Elements of one sum."""
    return math.prod(node.input(0).shape[a] for a in axes_of(node))


def _few(node: Node) -> bool:
    """At most 2^23 elements may be summed."""
    return _summed(node) <= _MOST_SUMMED


class Mean(Operator):
    """MEAN and SUM, with or without kept dimensions.

    SUM equals TensorFlow Lite Micro's: the interpreters' reference kernel reads int8 as uint8 there.
    """

    names = ("MEAN", "SUM")
    summary = (
        "int8, over any constant axes; SUM has TensorFlow Lite Micro's bits, as the interpreters take int8 for uint8"
    )
    constraints = (int8, fits, _few)

    def _arithmetic(self, node: Node) -> tuple[int, int, int, int]:
        """Sum of zero points, multiplier, shift, output zero point."""
        source, result = quant(node.input(0)), quant(node.outputs[0])
        count = _summed(node)
        real = float(np.float32(source.scales[0])) / float(np.float32(result.scales[0]))
        multiplier, shift = quantize_multiplier(real)
        if node.name == "SUM":
            return source.zero_points[0] * count, multiplier, shift, result.zero_points[0]
        down = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier = (multiplier << down) // count
        return source.zero_points[0] * count, multiplier, shift - down, result.zero_points[0]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        zero_sum, multiplier, shift, zero_point = self._arithmetic(node)
        assert inputs[0] is not None
        sums = inputs[0].astype(np.int64).sum(axis=axes_of(node)) - zero_sum
        result = np.clip(rescale(sums, multiplier, shift) + zero_point, -128, 127)
        return result.astype(np.int8).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        zero_sum, multiplier, shift, zero_point = self._arithmetic(node)
        includes: tuple[str, ...] = ()
        if over_pixels(node):
            _, height, width, channels = node.input(0).shape
            fast = core.mve and shift <= 0
            kernel, includes = ("mg_mean_mve", ("mve.h", "pool.h", "pool_mve.h")) if fast else ("mg_mean", ("pool.h",))
            body = f"{kernel}(in, out, {height * width}, {channels}, {zero_sum}, {multiplier}, {shift}, {zero_point});"
        else:
            result = f"mg_clamp(mg_rescale(value, {multiplier}, {shift}) + {zero_point}, -128, 127)"
            body = reduction_loops(node, str(-zero_sum), "value + {}", result)
        return function_kernel("mean", body, includes)


def over_pixels(node: Node) -> bool:
    """Whether it is a MEAN over height and width of one image, so that channels stay apart."""
    shape = node.input(0).shape
    return len(shape) == 4 and shape[0] == 1 and axes_of(node) == (1, 2) and node.outputs[0].shape[-1:] == shape[3:]
