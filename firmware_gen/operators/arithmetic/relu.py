"""RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import SUMMARY, look_up, rescaled, table_kernel
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _table(node: Node) -> Array:
    result = quant(node.outputs[0])
    limits = activation_range(node.name, result.scales[0], result.zero_points[0])
    return np.clip(rescaled(node), *limits).astype(np.int8)


class Relu(Operator):
    """The activations that clamp, as operators of their own."""

    names = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
    summary = SUMMARY
    constraints = (int8, same_shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(_table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return table_kernel(_table(node), node)
