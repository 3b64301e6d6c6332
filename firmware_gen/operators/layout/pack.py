"""PACK."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import joining_kernel
from multigraft.firmware_gen.operators.base.constraints import int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _alike(node: Node) -> bool:
    """All inputs have to be computed tensors of one shape, with the output's scale and zero point."""
    tensors = [node.input(i) for i in range(len(node.inputs))]
    result = node.outputs[0]
    return all(
        t.data is None and t.shape == tensors[0].shape and (t.dtype, t.quant) == (result.dtype, result.quant)
        for t in tensors
    )


def _fits(node: Node) -> bool:
    """The axis has to be one of the output's, of which there are at most 6, and as long as there are inputs."""
    result, shape = node.outputs[0].shape, node.input(0).shape
    axis = integer(node.op.options.get("axis"))
    axis = axis + len(result) if axis < 0 else axis
    return len(result) <= 6 and 0 <= axis < len(result) and (*shape[:axis], len(node.inputs), *shape[axis:]) == result


class Pack(Operator):
    """PACK: inputs side by side along an axis of its own."""

    names = ("PACK",)
    summary = "int8, any axis, equal scales"
    constraints = (int8, _alike, _fits)

    def _axis(self, node: Node) -> int:
        return integer(node.op.options.get("axis")) % len(node.outputs[0].shape)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return np.stack([i for i in inputs if i is not None], axis=self._axis(node))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        axis, shape = self._axis(node), node.input(0).shape
        part = (*shape[:axis], 1, *shape[axis:])
        return joining_kernel([part] * len(node.inputs), node.outputs[0].shape, axis)
