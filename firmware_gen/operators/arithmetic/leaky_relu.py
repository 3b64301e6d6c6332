"""LEAKY_RELU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_tables import leaky_relu
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import SUMMARY, by_byte, look_up, table_kernel
from multigraft.firmware_gen.program.options import number
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _table(node: Node) -> Array:
    alpha = number(node.op.options.get("alpha"), 0.0)
    values = leaky_relu(by_byte(), quant(node.input(0)), quant(node.outputs[0]), alpha)
    return np.clip(values, -128, 127).astype(np.int8)


class LeakyRelu(Operator):
    """LEAKY_RELU of any slope."""

    names = ("LEAKY_RELU",)
    summary = SUMMARY
    constraints = (int8, same_shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(_table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return table_kernel(_table(node), node)
