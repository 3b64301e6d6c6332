"""SOFTMAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import (
    doubling_high_multiply,
    exp_on_negative,
    one_over_one_plus,
    quantize_multiplier,
    rescale,
    rounding_shift,
)
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import WORTH, Kernel, Overlap, function_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import number
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_DIFFERENCE_BITS = 5
_SUM_BITS = 12
_PER_VALUE = 160
"""Instructions that a value takes more if its exp is computed, twice, and not looked up."""
_CODE_BYTES = 250
"""What computing it takes of code."""


def _from_minus_128(node: Node) -> bool:
    """The output has to have scale 1/256 and zero point -128."""
    result = quant(node.outputs[0])
    return result.scales[0] == 1 / 256 and result.zero_points[0] == -128


def _beta(node: Node) -> float:
    return float(np.float32(number(node.op.options.get("beta"), 1.0) or 1.0))


def _steep(node: Node) -> bool:
    """There has to be an axis, and the product of beta and the input's scale has to be 2^-26 or more."""
    return len(node.input(0).shape) > 0 and _beta(node) * quant(node.input(0)).scales[0] >= 2.0**-26


class Softmax(Operator):
    """SOFTMAX over the last axis."""

    names = ("SOFTMAX",)
    summary = "int8, over the last axis; gemmlowp's exp as a table or, of few values, computed"
    constraints = (int8, same_shape, _from_minus_128, _steep)

    def _scale(self, node: Node) -> tuple[int, int, int]:
        """Multiplier and shift of an input step in Q5.26, and the last difference the reference looks at."""
        beta = _beta(node)
        real = min(
            beta * float(np.float32(quant(node.input(0)).scales[0])) * (1 << (31 - _DIFFERENCE_BITS)), 2.0**31 - 1
        )
        multiplier, left = quantize_multiplier(real)
        least = float((1 << _DIFFERENCE_BITS) - 1) * float(1 << (31 - _DIFFERENCE_BITS)) / float(1 << left)
        return multiplier, left, min(int(least), 255)

    def _exponentials(self, node: Node) -> Array:
        """exp of minus 0, 1, ... input steps in Q0.31, up to the last one the reference looks at."""
        multiplier, left, last = self._scale(node)
        differences = -np.arange(0, last + 1, dtype=np.int64)
        return exp_on_negative(rescale(differences, multiplier, left), _DIFFERENCE_BITS)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        table = self._exponentials(node)
        depth = node.input(0).shape[-1]
        rows = inputs[0].astype(np.int64).reshape(-1, depth)
        distance = rows.max(axis=1, keepdims=True) - rows
        known = distance < len(table)
        exponentials = np.where(known, table[np.minimum(distance, len(table) - 1)], 0)
        total = np.where(known, rounding_shift(exponentials, _SUM_BITS), 0).sum(axis=1, keepdims=True)
        lead = 32 - np.vectorize(lambda v: int(v).bit_length(), otypes=[np.int64])(total)
        scale = one_over_one_plus((total << lead) - (1 << 31))
        result = rounding_shift(doubling_high_multiply(exponentials, scale), _SUM_BITS - lead + 31 - 8) - 128
        result = np.where(known, np.clip(result, -128, 127), -128)
        return result.astype(np.int8).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        table = self._exponentials(node)
        while len(table) > 1 and table[-1] == 0:
            table = table[:-1]
        shape = node.input(0).shape
        depth = shape[-1]
        rows = int(np.prod(shape)) // depth
        if rows * depth * _PER_VALUE <= WORTH * (4 * len(table) - _CODE_BYTES):
            multiplier, left, _ = self._scale(node)
            body = f"mg_softmax_few(in, out, {rows}, {depth}, {len(table)}, {multiplier}, {left});"
            return function_kernel("softmax", body, ("softmax.h",), overlaps={0: Overlap(0)})
        values = ", ".join(map(str, table.tolist()))
        body = (
            f"static const int32_t table[{len(table)}] = {{{values}}};\n"
            f"    mg_softmax(in, out, {rows}, {depth}, table, {len(table)});"
        )
        return function_kernel("softmax", body, ("softmax.h",), overlaps={0: Overlap(0)})
