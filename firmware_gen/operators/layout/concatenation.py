"""CONCATENATION."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import joining_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _inputs(node: Node) -> bool:
    """All inputs have to be computed int8 tensors with the output's scale and zero point."""
    return all(
        t is not None and is_int8(t) and t.data is None and t.quant == node.outputs[0].quant for t in node.inputs
    )


def _shapes(node: Node) -> bool:
    """The axis has to be one of the output's, of which there are at most 6, and the inputs' sizes have to add up."""
    result, axis = node.outputs[0].shape, integer(node.op.options.get("axis"))
    if not -len(result) <= axis < len(result) <= 6:
        return False
    axis %= len(result)
    shapes = [node.input(i).shape for i in range(len(node.inputs))]
    if any(len(s) != len(result) or s[:axis] + s[axis + 1 :] != result[:axis] + result[axis + 1 :] for s in shapes):
        return False
    return sum(s[axis] for s in shapes) == result[axis]


class Concatenation(Operator):
    """CONCATENATION along any axis."""

    names = ("CONCATENATION",)
    summary = "int8, any axis, equal scales"
    constraints = (int8, _inputs, _shapes)

    def _axis(self, node: Node) -> int:
        return integer(node.op.options.get("axis")) % len(node.outputs[0].shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return np.concatenate([i for i in inputs if i is not None], axis=self._axis(node))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shapes = [node.input(index).shape for index in range(len(node.inputs))]
        return joining_kernel(shapes, node.outputs[0].shape, self._axis(node))
