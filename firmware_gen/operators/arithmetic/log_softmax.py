"""LOG_SOFTMAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import (
    exp_on_negative,
    quantize_multiplier,
    rescale,
    rounding_shift,
)
from multigraft.firmware_gen.arithmetic.logarithm import log
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap, function_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_DIFFERENCE_BITS, _SUM_BITS, _OUT_BITS = 5, 12, 4
_MOST_VALUES = 1 << 12
"""Of a row: more exponentials could overflow their sum."""


def _to_0(node: Node) -> bool:
    """The output has to have scale 1/16 and zero point 127."""
    result = quant(node.outputs[0])
    return result.scales[0] == 1 / 16 and result.zero_points[0] == 127


def _steep(node: Node) -> bool:
    """There has to be an axis of at most 4095 values, and the input's scale has to be from 2^-26 to 16."""
    shape = node.input(0).shape
    return bool(shape) and shape[-1] < _MOST_VALUES and 2.0**-26 <= quant(node.input(0)).scales[0] <= 16


class LogSoftmax(Operator):
    """LOG_SOFTMAX over the last axis."""

    names = ("LOG_SOFTMAX",)
    summary = "int8, over the last axis; gemmlowp's exp as a table"
    constraints = (int8, same_shape, _to_0, _steep)

    def _differences(self, node: Node) -> tuple[Array, int, tuple[int, int]]:
        """Minus 0, 1, ... 255 input steps in Q5.26, how many count, and the scale that leads back."""
        fraction = 31 - _DIFFERENCE_BITS
        real = min(float(np.float32(quant(node.input(0)).scales[0])) * (1 << fraction), 2.0**31 - 1)
        multiplier, left = quantize_multiplier(real)
        least = int(float((1 << _DIFFERENCE_BITS) - 1) * float(1 << fraction) / float(1 << left))
        back, shift = quantize_multiplier(float(1 << (31 - left)) / float(multiplier))
        return rescale(-np.arange(256, dtype=np.int64), multiplier, left), least, (back, shift)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        steps, least, (back, shift) = self._differences(node)
        exponentials = rounding_shift(exp_on_negative(steps, _DIFFERENCE_BITS), _SUM_BITS)
        rows = inputs[0].astype(np.int64).reshape(-1, node.input(0).shape[-1])
        distance = rows.max(axis=1, keepdims=True) - rows
        total = np.where(distance <= least, exponentials[distance], 0).sum(axis=1, keepdims=True)
        logarithm = log(total)
        furthest = np.maximum(-least - 1, rescale(logarithm - (1 << 31), back, shift))
        result = rounding_shift(steps[distance] - logarithm, 31 - _DIFFERENCE_BITS - _OUT_BITS) + 127
        result = np.where(-distance > furthest, np.clip(result, -128, 127), -128)
        return result.astype(np.int8).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        steps, least, (back, shift) = self._differences(node)
        count = min(least, 255) + 1
        exponentials = rounding_shift(exp_on_negative(steps[:count], _DIFFERENCE_BITS), _SUM_BITS)
        shape = node.input(0).shape
        rows = int(np.prod(shape[:-1]))
        body = (
            f"static const int32_t steps[{count}] = {{{', '.join(map(str, steps[:count].tolist()))}}};\n"
            f"    static const int32_t table[{count}] = {{{', '.join(map(str, exponentials.tolist()))}}};\n"
            f"    mg_log_softmax(in, out, {rows}, {shape[-1]}, steps, table, {count}, {least}, {back}, {shift});"
        )
        return function_kernel("log_softmax", body, ("softmax.h", "log_softmax.h"), overlaps={0: Overlap(0)})
