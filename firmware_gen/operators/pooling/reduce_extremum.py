"""REDUCE_MAX and REDUCE_MIN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.firmware_gen.operators.base.constraints import int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.pooling.reduction import axes_of, fits, reduction_loops
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


class ReduceExtremum(Operator):
    """REDUCE_MAX and REDUCE_MIN, with or without kept dimensions."""

    names = ("REDUCE_MAX", "REDUCE_MIN")
    summary = "int8, over any constant axes"
    constraints = (int8, same_scale, fits)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        reduce = np.max if node.name == "REDUCE_MAX" else np.min
        return np.asarray(reduce(inputs[0], axis=axes_of(node))).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        start, step = ("-128", "mg_max(value, {})") if node.name == "REDUCE_MAX" else ("127", "mg_min(value, {})")
        body = reduction_loops(node, start, step, "(int8_t)value")
        return function_kernel(node.name.lower(), body)
