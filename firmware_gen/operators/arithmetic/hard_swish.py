"""HARD_SWISH."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.activation_tables import hard_swish, has_hard_swish
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_shape
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.base.table import SUMMARY, by_byte, look_up, table_kernel
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _coarse(node: Node) -> bool:
    """The output's scale has to be more than 1/128 of the input's."""
    return has_hard_swish(quant(node.input(0)), quant(node.outputs[0]))


def _table(node: Node) -> Array:
    values = hard_swish(by_byte(), quant(node.input(0)), quant(node.outputs[0]))
    return np.clip(values, -128, 127).astype(np.int8)


class HardSwish(Operator):
    """HARD_SWISH in the reference kernel's 16-bit arithmetic."""

    names = ("HARD_SWISH",)
    summary = SUMMARY
    constraints = (int8, same_shape, _coarse)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return look_up(_table(node), node, inputs)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return table_kernel(_table(node), node)
