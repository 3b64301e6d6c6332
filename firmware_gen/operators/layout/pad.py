"""PAD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import bytes_shape, copy_kernel, copy_loops, strides_of
from multigraft.firmware_gen.operators.base.constraints import int8_or_words, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _paddings(node: Node) -> bool:
    """The paddings have to be constant, of at most 6 dimensions, not negative, and have to give the output's shape."""
    amounts, source, result = node.input(1).data, node.input(0).shape, node.outputs[0].shape
    if amounts is None or amounts.dtype.kind != "i" or amounts.shape != (len(source), 2) or len(source) > 6:
        return False
    sizes = tuple(size + int(before) + int(after) for size, (before, after) in zip(source, amounts, strict=True))
    return bool(np.all(amounts >= 0)) and sizes == result


def _filling(node: Node) -> int:
    result = node.outputs[0]
    return quant(result).zero_points[0] if result.dtype == "int8" else 0


class Pad(Operator):
    """PAD with the output's zero point; bits are padded with 1, which is stored as 0."""

    names = ("PAD",)
    summary = "int8, or words of a binary network; constant paddings"
    constraints = (int8_or_words, same_scale, _paddings)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        paddings = node.input(1).data
        assert inputs[0] is not None and paddings is not None
        return np.pad(inputs[0], paddings.tolist(), constant_values=_filling(node))

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        paddings = node.input(1).data
        assert paddings is not None
        result, source = bytes_shape(node.outputs[0]), bytes_shape(node.input(0))
        strides = strides_of(result)
        first = sum(int(before) * s for (before, _), s in zip(paddings.tolist(), strides, strict=False))
        body = (
            f"memset(to, {_filling(node)}, {int(np.prod(result))});\n    to += {first};\n    "
            + copy_loops(source, strides, strides_of(source))
        )  # fmt: skip
        return copy_kernel("pad", body)
