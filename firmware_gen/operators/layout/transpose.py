"""TRANSPOSE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, view
from multigraft.firmware_gen.kernels.strided_copy import transposing_kernel
from multigraft.firmware_gen.operators.base.constraints import int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _permutation(node: Node) -> bool:
    """The permutation has to be constant, of at most 6 dimensions, and has to give the output's shape."""
    order, source = node.input(1).data, node.input(0).shape
    if order is None or order.dtype.kind != "i" or len(source) > 6:
        return False
    axes = [int(a) for a in order.reshape(-1)]
    return sorted(axes) == list(range(len(source))) and tuple(source[a] for a in axes) == node.outputs[0].shape


class Transpose(Operator):
    """TRANSPOSE; free where it moves only axes of size 1."""

    names = ("TRANSPOSE",)
    summary = "int8, at most 6 dimensions; free where only axes of size 1 move"
    constraints = (int8, _permutation)

    def _order(self, node: Node) -> list[int]:
        order = node.input(1).data
        assert order is not None
        return [int(a) for a in order.reshape(-1)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return np.ascontiguousarray(inputs[0].transpose(self._order(node)))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        order, shape = self._order(node), node.input(0).shape
        moved = [a for a in order if shape[a] != 1]
        if moved == sorted(moved):
            return view()
        return transposing_kernel("transpose", shape, order)
