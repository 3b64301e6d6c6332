"""ARG_MAX and ARG_MIN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.pooling.reduction import axes_of
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _types(node: Node) -> bool:
    """The input has to be int8 with one scale, the output int32."""
    return is_int8(node.input(0)) and node.outputs[0].dtype == "int32"


def _fits(node: Node) -> bool:
    """The axis has to be constant and one of at most 6, and the output has to have the shape without it."""
    axes, shape = axes_of(node), node.input(0).shape
    return len(axes) == 1 and (*shape[: axes[0]], *shape[axes[0] + 1 :]) == node.outputs[0].shape


class ArgMax(Operator):
    """ARG_MAX and ARG_MIN: the first place of the extreme value."""

    names = ("ARG_MAX", "ARG_MIN")
    summary = "int8 to int32, any constant axis; as the network's answer"
    constraints = (_types, _fits)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        find = np.argmax if node.name == "ARG_MAX" else np.argmin
        return np.asarray(find(inputs[0], axis=axes_of(node)[0]), np.int32).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shape, (axis,) = node.input(0).shape, axes_of(node)
        rows, size, run = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        compared = ">" if node.name == "ARG_MAX" else "<"
        body = (
            f"for (int32_t y = 0; y < {rows}; y++, in += {size * run})\n"
            f"        for (int32_t x = 0; x < {run}; x++, out += 4) {{\n            int32_t best = 0;\n"
            f"            for (int32_t i = 1; i < {size}; i++)\n"
            f"                if (in[i * {run} + x] {compared} in[best * {run} + x])\n"
            "                    best = i;\n            memcpy(out, &best, 4);\n        }"
        )
        return function_kernel("place", body)
