"""DEPTH_TO_SPACE and SPACE_TO_DEPTH."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.strided_copy import transposing_kernel
from multigraft.firmware_gen.operators.base.constraints import image, int8, same_scale
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_ORDER = (0, 2, 1, 3, 4)
"""Where the output has the input's axes, either way."""


def _block(node: Node) -> bool:
    """The block size has to make the output's height, width and channels of the input's."""
    block = integer(node.op.options.get("block_size"))
    small, large = node.input(0).shape, node.outputs[0].shape
    if node.name == "SPACE_TO_DEPTH":
        small, large = large, small
    return block >= 1 and (1, small[1] * block, small[2] * block, small[3]) == (*large[:3], large[3] * block * block)


class DepthSpace(Operator):
    """Channels to blocks of pixels, or back: one copy in another order of axes."""

    names = ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
    summary = "int8, any block size"
    constraints = (int8, image, same_scale, _block)

    def _axes(self, node: Node) -> list[int]:
        """The input's axes with blocks apart."""
        block, (_, height, width, channels) = integer(node.op.options.get("block_size")), node.input(0).shape
        if node.name == "DEPTH_TO_SPACE":
            return [height, width, block, block, channels // block**2]
        return [height // block, block, width // block, block, channels]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0].reshape(self._axes(node)).transpose(_ORDER).reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return transposing_kernel("blocks", self._axes(node), _ORDER)
