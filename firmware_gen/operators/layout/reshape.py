"""RESHAPE, SQUEEZE and EXPAND_DIMS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel, view
from multigraft.firmware_gen.operators.base.constraints import int8_or_words
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _elements(node: Node) -> bool:
    """Input and output have to have equally many elements."""
    return int(np.prod(node.input(0).shape)) == int(np.prod(node.outputs[0].shape))


class Reshape(Operator):
    """The same bytes under another shape."""

    names = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
    summary = "int8, or words of a binary network; takes no time and no memory"
    constraints = (int8_or_words, _elements)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0].reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return view()
