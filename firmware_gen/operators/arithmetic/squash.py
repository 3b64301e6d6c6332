"""LOGISTIC and TANH."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import logistic, quantize_multiplier, rescale, rounding_shift, tanh
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import SUMMARY, by_byte, look_up, table_kernel
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_INPUT_BITS = 4


def _writes(node: Node, scale: float, zero_point: int) -> bool:
    result = quant(node.outputs[0])
    return (result.scales[0], result.zero_points[0]) == (scale, zero_point)


def _coarse(node: Node) -> bool:
    """The input has to have a scale of 2^-27 or more, and less than 2^4."""
    return 2.0**-27 <= quant(node.input(0)).scales[0] < 16


def _from_minus_128(node: Node) -> bool:
    """The output has to have scale 1/256 and zero point -128."""
    return _writes(node, 1 / 256, -128)


def _around_0(node: Node) -> bool:
    """The output has to have scale 1/128 and zero point 0."""
    return _writes(node, 1 / 128, 0)


def _argument(node: Node) -> tuple[Array, Array, Array]:
    """Every int8 input as Q4.27, and where it lies beyond the radius below and above (reference_integer_ops)."""
    source = quant(node.input(0))
    real = float(np.float32(source.scales[0])) * float(1 << (31 - _INPUT_BITS))
    multiplier, shift = quantize_multiplier(real)
    radius = int(np.floor(float((1 << _INPUT_BITS) - 1) * float(1 << (31 - _INPUT_BITS)) / float(1 << shift)))
    centred = by_byte() - source.zero_points[0]
    inside = rescale(np.clip(centred, -radius, radius), multiplier, shift)
    return inside, centred <= -radius, centred >= radius


def _limited(values: Array, below: Array, above: Array) -> Array:
    """The table: outside the radius the function is its limit, which is the least or the greatest int8."""
    return np.where(below, -128, np.where(above, 127, np.clip(values, -128, 127))).astype(np.int8)


def _logistic_table(node: Node) -> Array:
    argument, below, above = _argument(node)
    return _limited(rounding_shift(logistic(argument, _INPUT_BITS), 23) - 128, below, above)


def _tanh_table(node: Node) -> Array:
    argument, below, above = _argument(node)
    return _limited(rounding_shift(tanh(argument, _INPUT_BITS), 24), below, above)


class Logistic(Operator):
    """LOGISTIC in gemmlowp's fixed point."""

    names = ("LOGISTIC",)
    summary = SUMMARY
    constraints = (int8, same_shape, _coarse, _from_minus_128)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(_logistic_table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return table_kernel(_logistic_table(node), node)


class Tanh(Operator):
    """TANH in gemmlowp's fixed point."""

    names = ("TANH",)
    summary = SUMMARY
    constraints = (int8, same_shape, _coarse, _around_0)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(_tanh_table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return table_kernel(_tanh_table(node), node)
