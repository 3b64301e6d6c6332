"""GATHER."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import copy_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _axis(node: Node) -> int:
    axis, rank = integer(node.op.options.get("axis")), len(node.input(0).shape)
    return axis + rank if axis < 0 else axis


def _no_batch(node: Node) -> bool:
    """There may be no batch dimensions, and the axis has to be one of the input's."""
    return not integer(node.op.options.get("batch_dims")) and 0 <= _axis(node) < len(node.input(0).shape)


def _indices(node: Node) -> bool:
    """The indices have to be constant, within the axis, fewer than 65536, and have to give the output's shape."""
    given, shape, axis = node.input(1).data, node.input(0).shape, _axis(node)
    if given is None or given.dtype.kind != "i" or given.size == 0 or shape[axis] >= 1 << 16:
        return False
    inside = bool(np.all((given >= 0) & (given < shape[axis]))) and given.size < 1 << 16
    return inside and (*shape[:axis], *given.shape, *shape[axis + 1 :]) == node.outputs[0].shape


class Gather(Operator):
    """GATHER by constant indices."""

    names = ("GATHER",)
    summary = "int8, constant indices along any axis"
    constraints = (int8, same_scale, _no_batch, _indices)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None and inputs[1] is not None
        return np.take(inputs[0], inputs[1], axis=_axis(node))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        given, shape, axis = node.input(1).data, node.input(0).shape, _axis(node)
        assert given is not None
        indices = [int(i) for i in given.reshape(-1)]
        rows, run = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        body = (
            f"static const uint16_t places[{len(indices)}] = {{{', '.join(map(str, indices))}}};\n"
            f"    for (int32_t i = 0; i < {rows}; i++, from += {shape[axis] * run})\n"
            f"        for (int32_t k = 0; k < {len(indices)}; k++, to += {run})\n"
            f"            memcpy(to, from + places[k] * {run}, {run});"
        )
        return copy_kernel("gather", body)
