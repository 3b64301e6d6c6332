"""PRELU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.elementwise import CONSTRAINTS, Formula, elementwise_kernel
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _computed(node: Node) -> bool:
    """The input has to be computed, and to have the output's shape."""
    return node.input(0).data is None and node.input(0).shape == node.outputs[0].shape


class Prelu(Operator):
    """PRELU: slopes of negative values are a tensor."""

    names = ("PRELU",)
    summary = "int8, slopes constant or computed, broadcasting"
    constraints = (*CONSTRAINTS, _computed)

    def _arithmetic(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """Multiplier and shift of values from 0 on, and of products of negative values and slopes (float32, as in
        the reference)."""
        tensors = (node.input(0), node.input(1), node.outputs[0])
        source, slope, result = (np.float32(quant(t).scales[0]) for t in tensors)
        return quantize_multiplier(float(source / result)), quantize_multiplier(float(source * slope / result))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        above, below = self._arithmetic(node)
        assert inputs[0] is not None and inputs[1] is not None
        x = inputs[0].astype(np.int64) - quant(node.input(0)).zero_points[0]
        slopes = inputs[1].astype(np.int64) - quant(node.input(1)).zero_points[0]
        values = np.where(x >= 0, rescale(x, *above), rescale(x * slopes, *below))
        return np.clip(values + quant(node.outputs[0]).zero_points[0], -128, 127).astype(np.int8)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        above, below = self._arithmetic(node)
        zero, slope_zero, result_zero = (
            quant(t).zero_points[0] for t in (node.input(0), node.input(1), node.outputs[0])
        )
        x = f"(x - ({zero}))"
        text = (
            f"(x >= {zero} ? mg_rescale({x}, {above[0]}, {above[1]}) : "
            f"mg_rescale({x} * (y - ({slope_zero})), {below[0]}, {below[1]})) + {result_zero}"
        )
        return elementwise_kernel(node, Formula(text, "", -128, 127), core)
