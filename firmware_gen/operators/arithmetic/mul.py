"""MUL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier
from multigraft.firmware_gen.arithmetic.requantise import Rescaling
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.elementwise import CONSTRAINTS, SUMMARY, Formula, elementwise_kernel
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


class Mul(Operator):
    """MUL."""

    names = ("MUL",)
    summary = SUMMARY
    constraints = CONSTRAINTS

    def _rescaling(self, node: Node) -> Rescaling:
        first, second, result = quant(node.input(0)), quant(node.input(1)), quant(node.outputs[0])
        # The product of the input scales is taken in float32, as in mul.cc.
        product = np.float32(first.scales[0]) * np.float32(second.scales[0])
        real = float(product / np.float32(result.scales[0]))
        low, high = activation_range(
            node.op.options.get("fused_activation_function"), result.scales[0], result.zero_points[0]
        )
        return Rescaling(*quantize_multiplier(real), result.zero_points[0], low, high)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None and inputs[1] is not None
        a = inputs[0].astype(np.int64) - quant(node.input(0)).zero_points[0]
        b = inputs[1].astype(np.int64) - quant(node.input(1)).zero_points[0]
        return self._rescaling(node).apply(a * b).astype(np.int8)

    def _formula(self, node: Node) -> Formula:
        r = self._rescaling(node)
        first, second = (quant(node.input(i)).zero_points[0] for i in (0, 1))
        scalar = f"mg_rescale((x - ({first})) * (y - ({second})), {r.multiplier}, {r.shift}) + {r.zero_point}"
        vector = ""
        if r.shift <= 0:
            product = f"vmulq_s32(vaddq_n_s32(x, {-first}), vaddq_n_s32(y, {-second}))"
            scaled = f"mg_rescale_mve({product}, vdupq_n_s32({r.multiplier}), vdupq_n_s32({r.shift}))"
            vector = f"int32x4_t sum = vaddq_n_s32({scaled}, {r.zero_point});"
        return Formula(scalar, vector, r.low, r.high)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return elementwise_kernel(node, self._formula(node), core)
