"""MAXIMUM and MINIMUM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.elementwise import CONSTRAINTS, Formula, elementwise_kernel
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _scales(node: Node) -> bool:
    """Both inputs and the output have to have the same scale and zero point."""
    return node.input(0).quant == node.input(1).quant == node.outputs[0].quant


class Extremum(Operator):
    """MAXIMUM and MINIMUM: stored values are compared as they are."""

    names = ("MAXIMUM", "MINIMUM")
    summary = "int8, broadcasting, either input constant, equal scales"
    constraints = (*CONSTRAINTS, _scales)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None and inputs[1] is not None
        compare = np.maximum if node.name == "MAXIMUM" else np.minimum
        return np.asarray(compare(inputs[0], inputs[1]))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        short = "max" if node.name == "MAXIMUM" else "min"
        formula = Formula(f"mg_{short}(x, y)", f"int32x4_t sum = v{short}q_s32(x, y);", -128, 127)
        return elementwise_kernel(node, formula, core)
