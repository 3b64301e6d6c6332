"""RESHAPE, SQUEEZE and EXPAND_DIMS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.int8 import Int8
from multigraft.firmware_gen.program.program import Array, Node


class Reshape(Int8):
    """The same bytes under another shape."""

    names = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
    summary = "int8, takes no time and no memory"

    def constraint_elements(self, node: Node) -> bool:
        """Input and output have to have equally many elements."""
        return int(np.prod(node.input(0).shape)) == int(np.prod(node.outputs[0].shape))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        return inputs[0].reshape(node.outputs[0].shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return view()


def view() -> Kernel:
    """A kernel that does nothing: its output is its input's memory."""

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return ""

    return Kernel(call, view=True)
